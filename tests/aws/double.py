"""AWS for tests, on loopback: moto behind a front that can fail, and an instance's metadata service.

Prints one JSON line with its ports when it is ready, and ends when standard input does:

  aws       AWS_ENDPOINT_URL: CloudWatch (its CBOR put into the JSON that moto knows), Logs, STS, EC2
  metadata  AWS_EC2_METADATA_SERVICE_ENDPOINT: IMDSv2; below /v1/credentials EKS Pod Identity
  moto      moto itself, without the front
  control   GET /requests?service=   what the front was asked: see `record`
            GET /metadata            what the metadata service was asked
            GET /stored?namespace=&period=   what moto has of it, read by boto3
            GET /events?group=&stream=       what moto has of it, read by boto3
            POST /forget             forgets the recorded requests
            POST /fault?kind=&count=&service=&operation=&name=   what goes wrong next; see FAULTS
            POST /clear              nothing goes wrong any more; what hangs is cut
            POST /away  POST /back   the front does not listen; it does again, on its port
            POST /metadata?mode=reachable|blocked|hanging&tags=shown|hidden&tag.KEY=VALUE
            POST /instance?tag.KEY=VALUE     makes an EC2 instance, which the metadata service is of
            POST /pod?token=         the token that Pod Identity wants; none is refused without this
"""

import datetime
import gzip
import http.client
import http.server
import json
import logging
import os
import socket
import sys
import threading
import time
import urllib.parse

import boto3
import cbor2
from moto.server import ThreadedMotoServer

LOOPBACK = "127.0.0.1"
REGION = "eu-central-1"
CLOUDWATCH = "GraniteServiceVersion20100801"
FAR = "2099-01-01T00:00:00Z"

# By kind: status and error code, or None where there is no whole answer. `reaches`: moto has the request.
FAULTS = {
    "throttle": {"status": 400, "code": "ThrottlingException"},
    "too_many": {"status": 429, "code": "TooManyRequestsException"},
    "internal": {"status": 500, "code": "InternalServiceError"},
    "unavailable": {"status": 503, "code": "ServiceUnavailableException"},
    "denied": {"status": 403, "code": "AccessDenied"},
    "expired": {"status": 403, "code": "ExpiredToken"},
    "invalid": {"status": 400, "code": "InvalidParameterValue"},
    "cut_before": {"reaches": False},
    "cut_after": {"reaches": True},
    "half": {"reaches": True},
    "hang": {"reaches": False},
    "hang_after": {"reaches": True},
}

lock = threading.Lock()
faults: list[dict] = []
requests: list[dict] = []
asked: list[str] = []
released = threading.Event()
instance = {"mode": "reachable", "shown": False, "tags": {}, "id": "i-0123456789abcdef0", "token": None}


# ------------------------------------------------------------------------------------------ the front


def plain(value):
    """CBOR's values as JSON has them."""
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    if isinstance(value, cbor2.CBORTag):
        return plain(value.value)
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value


def understand(handler, raw: bytes) -> dict:
    """Who is asked for what, in which protocol, and with which input."""
    body = gzip.decompress(raw) if handler.headers.get("content-encoding") == "gzip" else raw
    known = {"body": body, "input": {}}
    target = handler.headers.get("x-amz-target", "")
    if handler.path.startswith(f"/service/{CLOUDWATCH}/operation/"):
        known |= {"service": "monitoring", "protocol": "cbor", "input": plain(cbor2.loads(body))}
        known["operation"] = handler.path.rsplit("/", 1)[1]
    elif target:
        prefix, known["operation"] = target.split(".", 1)
        known["service"] = "logs" if prefix.startswith("Logs") else "monitoring"
        known |= {"protocol": "json", "input": json.loads(body or b"{}")}
    else:
        form = dict(urllib.parse.parse_qsl(body.decode("utf-8", "replace")))
        operation = form.get("Action", "")
        service = "sts" if operation.startswith(("Assume", "GetCaller")) else "ec2"
        known |= {"service": service, "protocol": "query", "operation": operation, "input": form}
    return known


def record(handler, known: dict, raw: bytes, fault: dict | None) -> None:
    """`fault` is the kind of what went wrong, `reached` whether moto has the request."""
    given = known["input"]
    entry = {
        "service": known["service"],
        "operation": known["operation"],
        "protocol": known["protocol"],
        "headers": {name.lower(): value for name, value in handler.headers.items()},
        "bytes": len(raw),
        "plain_bytes": len(known["body"]),
        "gzip": handler.headers.get("content-encoding") == "gzip",
        "fault": fault["kind"] if fault else None,
        "reached": fault is None or FAULTS[fault["kind"]].get("reaches", False),
        "input": given,
    }
    with lock:
        requests.append(entry)


def next_fault(known: dict) -> dict | None:
    """The first that this request is meant by; one with a name only by data of that name."""
    names = [datum.get("MetricName") for datum in known["input"].get("MetricData", [])]
    with lock:
        for fault in faults:
            if fault["service"] not in (None, known["service"]):
                continue
            if fault["operation"] not in (None, known["operation"]):
                continue
            if fault["name"] is not None and fault["name"] not in names:
                continue
            if fault["count"] is not None:
                fault["count"] -= 1
                if fault["count"] <= 0:
                    faults.remove(fault)
            return fault
    return None


def said(known: dict, code: str, words: str) -> tuple[list, bytes]:
    """Headers and body of an error in the protocol that was spoken."""
    error = {"__type": code, "message": words}
    if known["protocol"] == "cbor":
        return cbor_headers(), cbor2.dumps(error)
    if known["protocol"] == "json":
        return [("content-type", "application/x-amz-json-1.1")], json.dumps(error).encode()
    inner = f"<Error><Code>{code}</Code><Message>{words}</Message></Error>"
    if known["service"] == "ec2":
        text = f"<Response><Errors>{inner}</Errors><RequestID>r</RequestID></Response>"
    else:
        text = f"<ErrorResponse>{inner}<RequestId>r</RequestId></ErrorResponse>"
    return [("content-type", "text/xml")], text.encode()


def cbor_headers() -> list:
    return [("smithy-protocol", "rpc-v2-cbor"), ("content-type", "application/cbor")]


def ask_moto(handler, known: dict, raw: bytes) -> tuple[int, list, bytes]:
    """What moto answers, in the protocol that was spoken."""
    skipped = ("host", "connection", "content-length", "transfer-encoding")
    headers = {n: v for n, v in handler.headers.items() if n.lower() not in skipped}
    path, body = handler.path, raw
    if known["protocol"] == "cbor":
        kept = ("authorization", "x-amz-date", "x-amz-security-token")
        headers = {n: v for n, v in headers.items() if n.lower() in kept}
        headers["content-type"] = "application/x-amz-json-1.0"
        headers["x-amz-target"] = f"{CLOUDWATCH}.{known['operation']}"
        path, body = "/", json.dumps(known["input"]).encode()
    connection = http.client.HTTPConnection(LOOPBACK, moto_port, timeout=60)
    try:
        connection.request(handler.command, path, body, headers)
        answer = connection.getresponse()
        status, body = answer.status, answer.read()
        headers = [(n, v) for n, v in answer.getheaders() if n.lower() not in (*skipped, "server", "date")]
    finally:
        connection.close()
    if known["protocol"] == "cbor":
        headers, body = cbor_headers(), cbor2.dumps(json.loads(body or b"{}"))
    return status, headers, body


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Else small answers wait for a delayed acknowledgement.
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def setup(self):
        super().setup()
        with lock:
            self.server.connections.add(self.connection)

    def finish(self):
        with lock:
            self.server.connections.discard(self.connection)
        super().finish()

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def say(self, status: int, headers=(), body: bytes = b"", cut: bool = False) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        # Half an answer ends within its body, so it must have one.
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection |= cut

    def do_GET(self):
        try:
            self.answer()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_POST = do_PUT = do_GET


class Front(Handler):
    def answer(self):
        with lock:
            front.answering += 1
        try:
            self.answer_one()
        finally:
            with lock:
                front.answering -= 1

    def answer_one(self):
        raw = self.body()
        known = understand(self, raw)
        fault = next_fault(known)
        record(self, known, raw, fault)
        kind = fault["kind"] if fault else None
        how = FAULTS.get(kind, {"reaches": True})
        if "status" in how:
            self.say(how["status"], *said(known, how["code"], f"as the test wants it: {kind}"))
            return
        answer = ask_moto(self, known, raw) if how["reaches"] else None
        if kind is None:
            self.say(*answer)
        elif kind == "half":
            status, headers, body = answer
            self.say(status, headers, body + b" " * 64, cut=True)
        else:
            if kind.startswith("hang"):
                released.wait()
            self.close_connection = True


# --------------------------------------------------------------------------------- the metadata service


class Metadata(Handler):
    def answer(self):
        self.body()
        path = self.path.rstrip("/")
        with lock:
            asked.append(f"{self.command} {path}")
            now = dict(instance)
        if path == "/v1/credentials":
            return self.pod_identity(now)
        if now["mode"] == "hanging":
            released.wait()
            self.close_connection = True
            return None
        if now["mode"] == "blocked":
            return self.say(403)
        if self.command == "PUT" and path == "/latest/api/token":
            ttl = self.headers.get("x-aws-ec2-metadata-token-ttl-seconds")
            headers = [("x-aws-ec2-metadata-token-ttl-seconds", ttl or "")]
            return self.say(200, headers, b"token-of-the-test") if ttl else self.say(400)
        if self.headers.get("x-aws-ec2-metadata-token") != "token-of-the-test":
            return self.say(401)
        found = self.found(path.removeprefix("/latest/"), now)
        return self.say(404) if found is None else self.say(200, (), found.encode())

    def found(self, path: str, now: dict) -> str | None:
        if path == "meta-data/placement/region":
            return REGION
        if path == "meta-data/instance-id":
            return now["id"]
        if path == "dynamic/instance-identity/document":
            return json.dumps({"instanceId": now["id"], "region": REGION, "accountId": "123456789012"})
        if path == "meta-data/iam/security-credentials":
            return "node-role"
        if path == "meta-data/iam/security-credentials/node-role":
            return json.dumps({"Code": "Success", "Type": "AWS-HMAC"} | credentials("ASIANODEROLE"))
        below = path.removeprefix("meta-data/tags/instance")
        if below == path or not now["shown"]:
            return None
        if below == "":
            return "\n".join(now["tags"])
        return now["tags"].get(urllib.parse.unquote(below[1:]))

    def pod_identity(self, now: dict):
        if now["token"] is None or self.headers.get("authorization") != now["token"]:
            return self.say(401)
        body = json.dumps(credentials("ASIAPODIDENTITY")).encode()
        return self.say(200, [("content-type", "application/json")], body)


def credentials(key: str) -> dict:
    return {
        "AccessKeyId": key,
        "SecretAccessKey": "secret-of-the-test",
        "Token": "session-of-the-test",
        "AccountId": "123456789012",
        "Expiration": FAR,
        "LastUpdated": "2020-01-01T00:00:00Z",
    }


# ------------------------------------------------------------------------------------------- control


class Control(Handler):
    def answer(self):
        self.body()
        url = urllib.parse.urlsplit(self.path)
        given = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        work = getattr(self, f"{self.command.lower()}_{url.path.strip('/')}", None)
        try:
            status, answer = (404, "no such thing") if work is None else (200, work(given))
        except Exception as error:  # The test wants to read it.
            status, answer = 500, repr(error)
        self.say(status, [("content-type", "application/json")], json.dumps(answer).encode())

    def get_requests(self, given):
        with lock:
            return [r for r in requests if given.get("service") in (None, r["service"])]

    def get_metadata(self, _given):
        with lock:
            return list(asked)

    def get_stored(self, given):
        cloudwatch = client("cloudwatch")
        namespace, period = given["namespace"], int(given.get("period", 60))
        series = {}
        for page in cloudwatch.get_paginator("list_metrics").paginate(Namespace=namespace):
            for metric in page["Metrics"]:
                dimensions = tuple(sorted((d["Name"], d["Value"]) for d in metric["Dimensions"]))
                # moto names a metric once for each of its values.
                series[metric["MetricName"], dimensions] = metric["Dimensions"]
        points = []
        now = datetime.datetime.now(datetime.timezone.utc)
        for (name, dimensions), given_dimensions in sorted(series.items()):
            answer = cloudwatch.get_metric_statistics(
                Namespace=namespace,
                MetricName=name,
                Dimensions=given_dimensions,
                StartTime=now - datetime.timedelta(days=15),
                EndTime=now + datetime.timedelta(hours=3),
                Period=period,
                Statistics=["Sum", "Minimum", "Maximum", "SampleCount"],
            )
            for point in answer["Datapoints"]:
                known = {"name": name, "dimensions": dict(dimensions), "unit": point.get("Unit")}
                known["timestamp"] = int(point["Timestamp"].timestamp())
                for statistic in ("Sum", "Minimum", "Maximum", "SampleCount"):
                    known[statistic.lower()] = point[statistic]
                points.append(known)
        return sorted(points, key=lambda p: (p["timestamp"], p["name"], sorted(p["dimensions"].items())))

    def get_events(self, given):
        logs = client("logs")
        events, token = [], None
        while True:
            more = {"nextToken": token} if token else {}
            answer = logs.get_log_events(
                logGroupName=given["group"], logStreamName=given["stream"], startFromHead=True, **more
            )
            events += [{"timestamp": e["timestamp"], "message": e["message"]} for e in answer["events"]]
            if not answer["events"] or answer["nextForwardToken"] == token:
                return events
            token = answer["nextForwardToken"]

    def get_groups(self, _given):
        groups = client("logs").describe_log_groups()["logGroups"]
        return {group["logGroupName"]: group.get("retentionInDays") for group in groups}

    def post_forget(self, _given):
        with lock:
            requests.clear()
            asked.clear()

    def post_fault(self, given):
        if given["kind"] not in FAULTS:
            raise ValueError(f"{given['kind']} is none of {sorted(FAULTS)}")
        count = int(given["count"]) if "count" in given else None
        fault = {"kind": given["kind"], "count": count}
        fault |= {key: given.get(key) for key in ("service", "operation", "name")}
        with lock:
            faults.append(fault)

    def post_clear(self, _given):
        with lock:
            faults.clear()
        release()

    def post_away(self, _given):
        front.away()

    def post_back(self, _given):
        front.back()

    def post_metadata(self, given):
        with lock:
            instance["mode"] = given.get("mode", instance["mode"])
            instance["shown"] = given.get("tags", "shown" if instance["shown"] else "") == "shown"
            instance["tags"].update(tags(given))
        release()

    def post_instance(self, given):
        keys = [{"Key": key, "Value": value} for key, value in tags(given).items()]
        specifications = [{"ResourceType": "instance", "Tags": keys}] if keys else []
        made = client("ec2").run_instances(
            ImageId="ami-12c6146b", MinCount=1, MaxCount=1, TagSpecifications=specifications
        )
        with lock:
            instance["id"] = made["Instances"][0]["InstanceId"]
            instance["tags"] = tags(given)
            return instance["id"]

    def post_pod(self, given):
        with lock:
            instance["token"] = given["token"]


def release() -> None:
    """Cuts what hangs; what hangs from now on is another matter."""
    global released
    with lock:
        hung, released = released, threading.Event()
    hung.set()


def tags(given: dict) -> dict:
    return {key.removeprefix("tag."): value for key, value in given.items() if key.startswith("tag.")}


def client(service: str):
    return boto3.client(
        service,
        endpoint_url=f"http://{LOOPBACK}:{moto_port}",
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


# -------------------------------------------------------------------------------------------- servers


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    # Ends with the process: nobody waits for what hangs.
    block_on_close = False
    request_queue_size = 128

    def __init__(self, handler, port: int = 0):
        self.connections: set[socket.socket] = set()
        super().__init__((LOOPBACK, port), handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, _request, _address):
        kind = sys.exc_info()[0]
        if not issubclass(kind, OSError):
            super().handle_error(_request, _address)


class Listening:
    """A server that can leave its port and come back to it."""

    def __init__(self, handler):
        self.handler = handler
        self.server = Server(handler)
        self.port = self.server.server_address[1]
        self.answering = 0

    def away(self):
        server, self.server = self.server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        # What is being answered is answered: who goes away cuts nobody off. What hangs is not waited for.
        for _ in range(100):
            with lock:
                if self.answering == 0:
                    break
            time.sleep(0.05)
        with lock:
            open_ones = list(server.connections)
        for connection in open_ones:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def back(self):
        if self.server is None:
            self.server = Server(self.handler, self.port)


# moto tells each request otherwise.
logging.getLogger("werkzeug").setLevel(logging.ERROR)
moto = ThreadedMotoServer(ip_address=LOOPBACK, port=0, verbose=False)
moto.start()
moto_port = moto.get_host_and_port()[1]
front = Listening(Front)
ports = {"aws": front.port, "moto": moto_port}
ports["metadata"] = Server(Metadata).server_address[1]
ports["control"] = Server(Control).server_address[1]
print(json.dumps(ports), flush=True)
sys.stdin.read()
# Threads that hang do not keep it.
os._exit(0)
