"""All mutants, by room."""

from scripts.mutations import acting, believing, counting, deciding, recording, training

MUTANTS = (
    *acting.MUTANTS,
    *recording.MUTANTS,
    *believing.MUTANTS,
    *deciding.MUTANTS,
    *training.MUTANTS,
    *counting.MUTANTS,
)
