"""Whether double.py does what it says. The argument is its JSON line. Ends with a traceback where not."""

import gzip
import http.client
import json
import sys
import time

import boto3
import cbor2
from botocore.config import Config
from botocore.exceptions import ClientError

ports = json.loads(sys.argv[1])
NOW = int(time.time()) // 60 * 60


def ask(port: str, method: str, path: str, body: bytes = b"", headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", ports[port], timeout=20)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return answer.status, answer.read()


def control(method: str, path: str):
    status, body = ask("control", method, path)
    assert status == 200, body
    return json.loads(body)


def put(name: str, compressed: bool = False):
    """PutMetricData as the Rust SDK sends it."""
    datum = {"MetricName": name, "Timestamp": cbor2.CBORTag(1, NOW), "Unit": "Count"}
    datum |= {"Dimensions": [{"Name": "CLUSTER_ID", "Value": "c"}]}
    datum |= {"Values": [1.0, 4.0], "Counts": [2.0, 3.0]} if compressed else {"Value": 2.5}
    body = cbor2.dumps({"Namespace": "Check", "MetricData": [datum]})
    headers = {"content-type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}
    # moto looks for the service here, and does not verify it.
    scope = "a/20260101/eu-central-1/monitoring/aws4_request"
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"
    if compressed:
        body, headers["content-encoding"] = gzip.compress(body), "gzip"
    path = "/service/GraniteServiceVersion20100801/operation/PutMetricData"
    status, answer = ask("aws", "POST", path, body, headers)
    return status, cbor2.loads(answer)


def sdk(service: str):
    config = Config(retries={"total_max_attempts": 1})
    return boto3.client(
        service,
        endpoint_url=f"http://127.0.0.1:{ports['aws']}",
        region_name="eu-central-1",
        aws_access_key_id="a",
        aws_secret_access_key="b",
        config=config,
    )


def fails(kind: str, work) -> Exception:
    control("POST", f"/fault?kind={kind}&count=1")
    try:
        work()
    except (http.client.HTTPException, ConnectionError, ClientError) as error:
        return error
    raise AssertionError(f"{kind} did no harm")


# Plain and compressed data arrive, and are recorded.
assert put("plain") == (200, {})
assert put("spread", compressed=True) == (200, {})
stored = {point["name"]: point for point in control("GET", "/stored?namespace=Check")}
assert stored["plain"]["sum"] == 2.5 and stored["plain"]["timestamp"] == NOW, stored
assert stored["plain"]["dimensions"] == {"CLUSTER_ID": "c"}, stored
assert (stored["spread"]["sum"], stored["spread"]["samplecount"]) == (14, 5), stored
seen = control("GET", "/requests?service=monitoring")
assert [r["gzip"] for r in seen] == [False, True], seen
assert seen[1]["input"]["MetricData"][0]["Timestamp"] == NOW, seen

# Faults are of the protocol, are as many as wanted, and say whether moto had the request.
control("POST", "/fault?kind=throttle&count=1")
status, answer = put("again")
assert (status, answer["__type"]) == (400, "ThrottlingException"), answer
control("POST", "/fault?kind=invalid&name=bad")
assert put("bad")[0] == 400 and put("good")[0] == 200 and put("bad")[0] == 400
control("POST", "/clear")
fails("cut_before", lambda: put("lost"))
fails("cut_after", lambda: put("kept"))
fails("half", lambda: put("kept too"))
names = {point["name"] for point in control("GET", "/stored?namespace=Check")}
assert names == {"plain", "spread", "good", "kept", "kept too"}, names
reached = [r["reached"] for r in control("GET", "/requests?service=monitoring")]
assert reached[-3:] == [False, True, True], reached

# Away, nobody listens; back, what was there is there.
control("POST", "/away")
try:
    put("nobody")
    raise AssertionError("somebody listens")
except ConnectionRefusedError:
    pass
control("POST", "/back")
assert put("somebody")[0] == 200

# Logs, by boto3.
logs = sdk("logs")
logs.create_log_group(logGroupName="g")
logs.put_retention_policy(logGroupName="g", retentionInDays=14)
logs.create_log_stream(logGroupName="g", logStreamName="s")
event = {"timestamp": NOW * 1000, "message": "{}"}
error = fails("throttle", lambda: logs.put_log_events(logGroupName="g", logStreamName="s", logEvents=[event]))
assert error.response["Error"]["Code"] == "ThrottlingException", error
logs.put_log_events(logGroupName="g", logStreamName="s", logEvents=[event])
assert control("GET", "/events?group=g&stream=s") == [event]
assert control("GET", "/groups") == {"g": 14}

# IRSA's call, and the instance's tags by EC2.
role = sdk("sts").assume_role_with_web_identity(
    RoleArn="arn:aws:iam::123456789012:role/test", RoleSessionName="test", WebIdentityToken="t" * 20
)
assert role["Credentials"]["AccessKeyId"], role
control("POST", "/instance?tag.Name=by-ec2")
found = sdk("ec2").describe_tags(Filters=[{"Name": "key", "Values": ["Name"]}])["Tags"]
assert [tag["Value"] for tag in found] == ["by-ec2"], found

# The metadata service.
ttl = {"x-aws-ec2-metadata-token-ttl-seconds": "60"}
assert ask("metadata", "PUT", "/latest/api/token")[0] == 400
token = ask("metadata", "PUT", "/latest/api/token", headers=ttl)[1].decode()
with_token = {"x-aws-ec2-metadata-token": token}
assert ask("metadata", "GET", "/latest/meta-data/placement/region")[0] == 401


def metadata(path: str):
    status, body = ask("metadata", "GET", f"/latest/{path}", headers=with_token)
    return body.decode() if status == 200 else status


assert metadata("meta-data/placement/region") == "eu-central-1"
assert metadata("meta-data/tags/instance") == 404
control("POST", "/metadata?tags=shown&tag.eks:cluster-name=by-metadata")
assert metadata("meta-data/tags/instance").splitlines() == ["Name", "eks:cluster-name"]
assert metadata("meta-data/tags/instance/eks:cluster-name") == "by-metadata"
document = json.loads(metadata("dynamic/instance-identity/document"))
assert document["instanceId"].startswith("i-"), document
role = metadata("meta-data/iam/security-credentials/")
assert "ASIANODEROLE" in metadata(f"meta-data/iam/security-credentials/{role}")
control("POST", "/metadata?mode=blocked")
assert metadata("meta-data/placement/region") == 403
assert ask("metadata", "GET", "/v1/credentials")[0] == 401
control("POST", "/pod?token=t")
assert ask("metadata", "GET", "/v1/credentials", headers={"authorization": "t"})[0] == 200
