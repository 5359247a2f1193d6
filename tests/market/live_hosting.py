"""A server on loopback that answers as Azure's retail prices and Google's billing catalog do, and what may be wrong with it.

The shapes are those of the public interfaces, one meter and one SKU at a time, with figures of our own.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.market.hosting import answering

Json = Any
Page = dict[str, Json]


class Server(ThreadingHTTPServer):
    """`page` answers a question. Each trouble is of the next answers only, so many of them."""

    daemon_threads = True

    def __init__(self, page: Callable[[dict[str, str]], Page]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.page = page
        self.questions: list[dict[str, str]] = []
        self.keys: list[str | None] = []
        self.refusals: list[tuple[int, str]] = []  # status and Retry-After ("" for none), for the next answers
        self.elsewhere = ""  # where a refusal leads, if anywhere
        self.cut = False  # half of each page
        self.is_silent = threading.Event()
        self.now: float | None = None  # its clock; None for the machine's

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        question = {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}
        server.questions.append(question)
        server.keys.append(self.headers.get("X-Goog-Api-Key"))
        if server.is_silent.is_set():
            threading.Event().wait(60.0)  # longer than any deadline of a test; its thread ends with the process
            return
        if server.refusals:
            status, wait = server.refusals.pop(0)
            self.send_response(status)
            if wait:
                self.send_header("Retry-After", wait)
            if server.elsewhere:
                self.send_header("Location", server.elsewhere)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = json.dumps(server.page(question)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) // 2 if server.cut else len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if server.cut else body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(self.server.now, usegmt=True)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        pass

    def log_error(self, *words: object) -> None:
        pass


@contextmanager
def serving(page: Callable[[dict[str, str]], Page]) -> Iterator[Server]:
    with answering(Server(page)) as made:
        yield made


# --- Azure ---------------------------------------------------------------------------------------------------------------------


def meter(size: str, region: str, price: float, **changes: Json) -> Page:
    """One spot meter for Linux, as Azure's interface writes it."""
    name = size.removeprefix("Standard_").replace("_", " ")
    return {
        "currencyCode": "USD",
        "tierMinimumUnits": 0.0,
        "retailPrice": price,
        "unitPrice": price,
        "armRegionName": region,
        "location": "US East",
        "effectiveStartDate": "2025-03-01T00:00:00Z",
        "meterId": "000a794b-bdb0-58be-a0cd-0c3a0f222923",
        "meterName": f"{name} Spot",
        "productId": "DZH318Z0BQPS",
        "skuId": "DZH318Z0BQPS/00TG",
        "productName": "Virtual Machines NCSv3 Series",
        "skuName": f"{name} Spot",
        "serviceName": "Virtual Machines",
        "serviceId": "DZH313Z7MMC8",
        "serviceFamily": "Compute",
        "unitOfMeasure": "1 Hour",
        "type": "Consumption",
        "isPrimaryMeterRegion": True,
        "armSkuName": size,
        **changes,
    }


def azure_pages(*meters: Page, per_page: int = 1000, host: str = "https://prices.azure.com:443") -> Callable[..., Page]:
    """All of them, whatever is asked, some to a page; the link to the next one names Azure's own host, as it really does."""

    def page(question: dict[str, str]) -> Page:
        start = int(question.get("$skip", "0"))
        link = f"{host}/api/retail/prices?$filter=serviceName%20eq%20%27Virtual%20Machines%27&$skip={start + per_page}"
        return {
            "BillingCurrency": "USD",
            "CustomerEntityId": "Default",
            "CustomerEntityType": "Retail",
            "Items": list(meters[start : start + per_page]),
            "NextPageLink": link if start + per_page < len(meters) else None,
            "Count": len(meters[start : start + per_page]),
        }

    return page


# --- Google --------------------------------------------------------------------------------------------------------------------


def sku(description: str, usage: str, price: float, *regions: str, unit: str = "h") -> Page:
    """One SKU, as Google's catalog writes it."""
    money = {"currencyCode": "USD", "units": str(int(price)), "nanos": round((price - int(price)) * 1e9)}
    return {
        "name": "services/6F81-5844-456A/skus/0000-0000-0000",
        "skuId": "0000-0000-0000",
        "description": description,
        "category": {
            "serviceDisplayName": "Compute Engine",
            "resourceFamily": "Compute",
            "resourceGroup": "GPU",
            "usageType": usage,
        },
        "serviceRegions": list(regions),
        "pricingInfo": [
            {
                "summary": "",
                "pricingExpression": {
                    "usageUnit": unit,
                    "displayQuantity": 1,
                    "tieredRates": [{"startUsageAmount": 0, "unitPrice": money}],
                    "baseUnit": "s",
                },
                "currencyConversionRate": 1,
                "effectiveTime": "2026-11-28T08:00:00Z",
            }
        ],
        "serviceProviderName": "Google",
        "geoTaxonomy": {"type": "REGIONAL", "regions": list(regions)},
    }


def google_pages(*skus: Page, per_page: int = 5000) -> Callable[..., Page]:
    def page(question: dict[str, str]) -> Page:
        start = int(question.get("pageToken") or 0)
        more = str(start + per_page) if start + per_page < len(skus) else ""
        return {"skus": list(skus[start : start + per_page]), "nextPageToken": more}

    return page
