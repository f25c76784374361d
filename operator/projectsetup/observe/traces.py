"""Whether and where spans are sent, as the variables OTEL_… say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import unquote

from projectsetup.observe.logs import get_logger
from projectsetup.observe.spans import SpanExporter

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_HEADERS: Final = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_SUPPORTED: Final = "http/protobuf"

_log = get_logger("traces")


def header_secrets(environment: Mapping[str, str]) -> Iterator[str]:
    """The values of the headers that are sent to the collector, as they are set and as they are sent."""
    for name in _HEADERS:
        for header in environment.get(name, "").split(","):
            value = header.partition("=")[2].strip()
            yield from (value, unquote(value), *unquote(value).split())


def open_exporter(environment: Mapping[str, str], *, version: str, scrub: Callable[[str], str]) -> SpanExporter | None:
    """The exporter that the variables OTEL_… ask for; None without an endpoint, which imports nothing.

    A mistake in the variables is logged and switches traces off, as OpenTelemetry requires: observability must not
    keep the operator from starting. `scrub` removes secrets from errors of the exporter.
    """
    endpoint = _first(_ENDPOINTS, environment)
    if endpoint is None or _is_switched_off(environment):
        return None
    try:
        from projectsetup.observe.otlp import OtlpExporter  # noqa: PLC0415  # an extra that few need
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        _log.warning(
            "OpenTelemetry is not installed: no traces are sent; install projectsetup[otel]", endpoint=endpoint
        )
        return None
    protocol = _first(_PROTOCOLS, environment) or _SUPPORTED
    if protocol != _SUPPORTED:
        _log.warning("OTEL_EXPORTER_OTLP_PROTOCOL is not supported; sending as http/protobuf", protocol=protocol)
    try:
        exporter = OtlpExporter(endpoint, version=version, scrub=scrub)
    except (ValueError, RuntimeError) as error:
        _log.warning("a variable OTEL_… is invalid: no traces are sent", error=scrub(str(error)))
        return None
    _log.info("sending traces", endpoint=endpoint)
    return exporter


def _first(names: Iterable[str], environment: Mapping[str, str]) -> str | None:
    return next(filter(None, map(environment.get, names)), None)


def _is_switched_off(environment: Mapping[str, str]) -> bool:
    disabled = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return disabled or environment.get("OTEL_TRACES_EXPORTER") == "none"
