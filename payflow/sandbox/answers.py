"""The one way a gateway request is answered: logged, and spoilt when a planted fault says so.

Every dialect route goes through `ApiDesk.serve`. No gateway's shapes here and no rules about money.
"""

import socket
import struct
from collections.abc import Callable, Iterator

from flask import Response, request

from payflow.sandbox.counterparty import Counterparty
from payflow.sandbox.fault_table import FaultName
from payflow.sandbox.faults import FaultPlan
from payflow.sandbox.records import Call

INSTEAD = (FaultName.ERROR_500, FaultName.RATE_LIMIT, FaultName.HTML_ERROR, FaultName.REFUSE_CONNECTION)
AFTERWARDS = (FaultName.TRUNCATED_JSON, FaultName.HUGE_BODY, FaultName.TIMEOUT_AFTER_EFFECT)
BAD_GATEWAY_PAGE = (
    "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    "<center><h1>502 Bad Gateway</h1></center>\r\n"
    "<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
)
CHUNK = 64 * 1024
DROPPED = "X-Sandbox-Dropped"


class ApiDesk:
    """Where a gateway's requests are received."""

    def __init__(self, counterparty: Counterparty, gateway: str) -> None:
        """Serve `gateway` with the faults and the call log of `counterparty`."""
        self._party = counterparty
        self._gateway = gateway

    def serve(self, operation: str, reference: str | None, handle: Callable[[], Response]) -> Response:
        """Answer one request by `handle`, or as the planted faults want; either way it is in the call log."""
        request.get_data()  # the body is read even when it is ignored: the connection is used again
        slow = self._take(operation, reference, FaultName.SLOW)
        if slow is not None:
            self._party.stopping.wait(float(slow.params["seconds"]))
        instead = self._take(operation, reference, *INSTEAD)
        spoilt: FaultPlan | None = instead
        if instead is not None:
            if instead.params.get("after_effect"):
                self._effect(handle)
            answer = self._answer_instead(instead)
        else:
            answer = self._effect(handle)
            spoilt = self._take(operation, reference, *AFTERWARDS)
            if spoilt is not None:
                answer = self._spoil(spoilt, answer)
        fault = spoilt or slow
        self._log(operation, reference, answer, fault)
        if DROPPED in answer.headers:  # after the log: whoever is hung up on may read it at once
            hang_up()
        return answer

    def _effect(self, handle: Callable[[], Response]) -> Response:
        with self._party.state.lock:
            self._party.tick()
            return handle()

    def _take(self, operation: str, reference: str | None, *faults: FaultName) -> FaultPlan | None:
        return self._party.faults.take(*faults, gateway=self._gateway, reference=reference, operation=operation)

    def _answer_instead(self, plan: FaultPlan) -> Response:
        dialect = self._party.dialects[self._gateway]
        match plan.fault:
            case FaultName.RATE_LIMIT:
                answer = dialect.rate_limited(int(plan.params["retry_after"]))
                answer.headers["Retry-After"] = str(plan.params["retry_after"])
                return answer
            case FaultName.HTML_ERROR:
                return Response(BAD_GATEWAY_PAGE, status=int(plan.params["status"]), mimetype="text/html")
            case FaultName.REFUSE_CONNECTION:
                return dropped()
            case _:
                return dialect.error_500(int(plan.params["status"]))

    def _spoil(self, plan: FaultPlan, answer: Response) -> Response:
        match plan.fault:
            case FaultName.TRUNCATED_JSON:
                body = answer.get_data()
                answer.set_data(body[: int(len(body) * float(plan.params["keep"]))])
                return answer
            case FaultName.HUGE_BODY:
                size = int(plan.params["bytes"])
                return Response(_padding(size), status=answer.status_code, mimetype="application/json",
                                headers={"Content-Length": str(size)})  # fmt: skip
            case _:
                self._party.stopping.wait(float(plan.params["seconds"]))
                return answer if plan.params["then"] == "answer" else dropped()

    def _log(self, operation: str, reference: str | None, answer: Response, fault: FaultPlan | None) -> None:
        state = self._party.state
        state.log_call(Call(
            id=state.next_id("call"), gateway=self._gateway, operation=operation, method=request.method,
            route=request.path, reference=reference, status=None if DROPPED in answer.headers else answer.status_code,
            fault=fault.fault if fault is not None else None, called_at=self._party.clock.now(),
        ))  # fmt: skip


def dropped() -> Response:
    """Return what stands for no answer at all: an empty marked 502."""
    return Response(b"", status=502, headers={DROPPED: "1"})


def hang_up() -> None:
    """Reset the connection under the request, where there is a real socket."""
    connection = request.environ.get("werkzeug.socket")
    if isinstance(connection, socket.socket):
        # linger zero: the close is a reset, as when a process dies, and no half answer is sent
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)


def _padding(size: int) -> Iterator[bytes]:
    sent = 0
    while sent < size:
        piece = b" " * min(CHUNK, size - sent)
        sent += len(piece)
        yield piece
