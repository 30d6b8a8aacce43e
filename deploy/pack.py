#!/usr/bin/env python3
"""Builds the image for real and runs it as Kubernetes would: non-root, read-only, without capabilities.

    deploy/pack.py PROGRAM        # packs a program that is built already, and linked statically
    deploy/pack.py --compile      # compiles it by the Dockerfile as well; about 20 minutes

Comes in: the Dockerfile, and a static PROGRAM. Goes out: what was checked, the image's size and how long its
container takes to answer; 1 when a check fails. No registry is asked: the image's own base is empty, and for
--compile a stand-in of Rust's image is made of Debian's packages and this machine's Rust. Checked: the two
files of the image, its labels, user, port and entry point, that a second build is the same image, and of its
container that it answers, finds names by /etc/hosts and by DNS, trusts the CA certificates of the image's path,
has no rights, and ends as asked.

Needs Linux, and root (it takes sudo where that asks for no password). The Debian packages it lacks it installs.
Never: the machine's own containers and images, a port of the machine (the container has a network of its own),
a file outside of its temporary folder.
"""

import argparse
import datetime
import fcntl
import http.server
import json
import os
import pathlib
import re
import shutil
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
FILES = {"vpc-cni-exporter", CERTIFICATES}
# Commands, and the packages that bring them.
PARTS = {"buildah": "buildah", "podman": "podman", "crun": "crun", "conmon": "conmon", "openssl": "openssl"}
PARTS_TO_COMPILE = {"debootstrap": "debootstrap", "rustc": None}
# Any moment will do, as long as it is the same one.
EPOCH = 1_700_000_000
LABELS = {"version": "1.2.3", "revision": "0123abc", "created": "2023-11-14T22:13:20Z", "source": "https://example.invalid/it"}
# Names for which the container has to ask.
BY_DNS = "api.test"
BY_FILE = "file.test"
PORT = 61681
# Seconds, against hanging; none of it takes one.
PATIENCE = 30
# Linux' own numbers.
SIOCSIFFLAGS, IFF_UP, ELF_INTERPRETER = 0x8914, 1, 3


class Failed(Exception):
    """A check that failed, or a part that is missing, in words."""


def run(*command, **options):
    """What the command says; a command that fails is told in whole."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)
    if done.returncode:
        raise Failed(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout.strip()


def check(holds, words):
    if not holds:
        raise Failed(words)


# ---------------------------------------------------------------------------- parts


def bring(parts):
    """Installs the packages whose commands are not there."""
    lacking = [command for command in parts if not shutil.which(command)]
    packages = [parts[command] for command in lacking if parts[command]]
    if len(packages) < len(lacking) or (lacking and not shutil.which("apt-get")):
        raise Failed(f"missing: {', '.join(lacking)}")
    if packages:
        print(f"installing {', '.join(packages)}")
        quiet = {"env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}}
        run("apt-get", "-qq", "update", **quiet)
        run("apt-get", "-qq", "install", "-y", "--no-install-recommends", *packages, **quiet)


def storage(work):
    """Images and containers in our own folder; layers as plain folders, which every file system can hold."""
    (work / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{work}/images"\nrunroot = "{work}/run"\n'
    )
    (work / "containers.conf").write_text(
        # The kernel's limits of this machine may be below the defaults, which a container may not exceed.
        '[containers]\ndefault_ulimits = []\n[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        f'runtime = "crun"\ntmp_dir = "{work}/tmp"\nstatic_dir = "{work}/static"\nvolume_path = "{work}/volumes"\n'
    )
    os.environ["CONTAINERS_STORAGE_CONF"] = str(work / "storage.conf")
    os.environ["CONTAINERS_CONF"] = str(work / "containers.conf")


# ---------------------------------------------------------------------------- the image


def is_static(program):
    """Whether the ELF file names no interpreter that would have to be in the image, too."""
    with open(program, "rb") as file:
        head = file.read(64)
        check(head[:6] == b"\x7fELF\x02\x01", f"{program} is no 64-bit ELF program")
        at, size, count = struct.unpack_from("<Q", head, 32)[0], *struct.unpack_from("<HH", head, 54)
        file.seek(at)
        kinds = [struct.unpack("<I", file.read(size)[:4])[0] for _ in range(count)]
    return ELF_INTERPRETER not in kinds


def folder_of(program, work):
    """What the stage `compile` would have left, from a program that is built already."""
    check(is_static(program), f"{program} is linked dynamically: the image has no C library for it")
    image = work / "compile" / "image"
    for source, place in ((program, "vpc-cni-exporter"), (f"/{CERTIFICATES}", CERTIFICATES)):
        check(os.path.isfile(source), f"{source} is missing")
        (image / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, image / place)
        (image / place).chmod(0o755 if source == program else 0o644)
    return image.parent


def build(*options):
    """The image's identity: everything in it, labels and times included."""
    arguments = [f"--build-arg={name.upper()}={value}" for name, value in LABELS.items()]
    with tempfile.NamedTemporaryFile("r") as identity:
        run(
            "buildah", "build", "--pull-never", "--isolation=chroot", "--layers=false", f"--timestamp={EPOCH}",
            f"--iidfile={identity.name}", *arguments, *options, str(ROOT),
        )
        return identity.read().strip()


def look(image):
    """The image as it lies in the storage: its configuration and its files."""
    told = json.loads(run("buildah", "inspect", "--type=image", image))["OCIv1"]
    config = told["config"]
    labels = config["Labels"]
    for name, value in LABELS.items():
        found = labels.get(f"org.opencontainers.image.{name}")
        check(found == value, f"label {name}: {found} instead of {value}")
    for key, value in (("User", "65534:65534"), ("Entrypoint", ["/vpc-cni-exporter"]), ("Cmd", None)):
        check(config.get(key) == value, f"{key}: {config.get(key)} instead of {value}")
    check(list(config["ExposedPorts"]) == [f"{PORT}/tcp"], f"ports: {config['ExposedPorts']}")
    container = run("buildah", "from", "--pull-never", image)
    root = pathlib.Path(run("buildah", "mount", container))
    files = {str(file.relative_to(root)) for file in root.rglob("*") if not file.is_dir()}
    check(files == FILES, f"files: {sorted(files)} instead of {sorted(FILES)}")
    check(b"BEGIN CERTIFICATE" in (root / CERTIFICATES).read_bytes(), "the CA certificates hold none")
    size = sum((root / file).stat().st_size for file in files)
    run("buildah", "rm", container)
    return size


# ---------------------------------------------------------------------------- its container


class Names(socketserver.BaseRequestHandler):
    """DNS that knows one name: BY_DNS is this machine; of every other it says that there is none."""

    def handle(self):
        query, back = self.request
        name, at = [], 12
        while query[at]:
            name.append(query[at + 1 : at + 1 + query[at]].decode())
            at += 1 + query[at]
        question = query[12 : at + 5]
        known = ".".join(name) == BY_DNS
        address = known and question[-4:-2] == b"\x00\x01"
        head = query[:2] + struct.pack(">HHHHH", 0x8180 if known else 0x8183, 1, int(address), 0, 0)
        record = b"\xc0\x0c" + struct.pack(">HHIH4B", 1, 1, 60, 4, 127, 0, 0, 1) if address else b""
        back.sendto(head + question + record, self.client_address)


class Api(http.server.BaseHTTPRequestHandler):
    """Notes what it is asked, and by which name."""

    def do_GET(self):
        self.server.asked.add(self.headers["Host"])
        self.send_error(503)

    def log_message(self, *_):
        pass


def stand_ins(work):
    """DNS, and a server with a certificate that nobody else trusts. Returns the names it is asked by."""
    certificate, key = work / "certificate.pem", work / "key.pem"
    run(
        "openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-subj", "/CN=stand-in", "-addext", f"subjectAltName=DNS:{BY_DNS},DNS:{BY_FILE}",
        "-addext", "basicConstraints=critical,CA:FALSE", "-keyout", str(key), "-out", str(certificate),
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    api = http.server.ThreadingHTTPServer(("127.0.0.1", 443), Api)
    api.socket = context.wrap_socket(api.socket, server_side=True)
    api.asked = set()
    for server in (api, socketserver.UDPServer(("127.0.0.1", 53), Names)):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    return certificate, api.asked


def until(holds, what):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(0.005)
    raise Failed(f"{what}: not within {PATIENCE} s")


def answers():
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/livez", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def start(image, name, certificate, server):
    """Runs the image with what a restricted pod gives it, and no more."""
    return run(
        "podman", "run", "--detach", "--pull=never", f"--name={name}", "--timeout=120", "--network=host",
        "--cgroups=disabled", "--log-driver=k8s-file", "--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL",
        "--security-opt=no-new-privileges", "--dns=127.0.0.1", f"--add-host={BY_FILE}:127.0.0.1",
        f"--volume={certificate}:/{CERTIFICATES}:ro", image,
        f"--kube.api-server=https://{server}", "--lead.election=off",
    )


def live(image, name, certificate, server, asked):
    """One container, from its start to its end. Returns the seconds until it answered."""
    start(image, name, certificate, server)
    try:
        until(answers, "an answer of /livez")
        answered = time.time()
        state = json.loads(run("podman", "inspect", name))[0]["State"]
        # Nanoseconds are more than Python reads.
        began = datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", state["StartedAt"])).timestamp()
        status = pathlib.Path(f"/proc/{state['Pid']}/status").read_text()
        told = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        check(set(told["Uid"].split()) == {"65534"}, f"it runs as {told['Uid']}")
        for kind in ("CapEff", "CapPrm", "CapBnd"):
            check(int(told[kind], 16) == 0, f"{kind} is {told[kind]}")
        until(lambda: server in asked, f"a request to {server}: the name, or the certificate")
        run("podman", "stop", "--time=20", name)
        code = json.loads(run("podman", "inspect", name))[0]["State"]["ExitCode"]
        check(code == 0, f"asked to end, it ended with {code}")
        return answered - began
    except Failed as failure:
        logs = subprocess.run(["podman", "logs", name], capture_output=True, text=True)
        raise Failed(f"{failure}\nits log:\n{logs.stdout}{logs.stderr}") from None
    finally:
        subprocess.run(["podman", "rm", "--force", "--time=0", name], capture_output=True)


# ---------------------------------------------------------------------------- the whole


def stand_in_of_rust():
    """In place of Rust's image: Debian's compilers and this machine's Rust. Returns what to build with it."""
    print("making a stand-in of Rust's image")
    container = run("buildah", "from", "scratch")
    root = run("buildah", "mount", container)
    run("debootstrap", "--variant=minbase", "--include=gcc,g++,libc6-dev,make,ca-certificates", "bookworm", root)
    # This machine's own, as it may reach the registries through somebody whom nobody else trusts.
    shutil.copyfile(f"/{CERTIFICATES}", f"{root}/{CERTIFICATES}")
    paths = {"PATH": "/usr/local/rust/bin:/usr/bin:/bin", "CARGO_HOME": "/usr/local/cargo"}
    run("buildah", "config", *(f"--env={name}={value}" for name, value in paths.items()), container)
    run("buildah", "commit", "--rm", container, "localhost/rust")
    return ["--build-arg=RUST=localhost/rust", f"--volume={run('rustc', '--print', 'sysroot')}:/usr/local/rust:ro"]


def inside(image, work):
    """What runs in a network and with mounts of its own: the containers."""
    # The loopback interface of a new network is down.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        fcntl.ioctl(ours, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
    # crun knows none that are mixed of old and new.
    run("mount", "-t", "cgroup2", "none", "/sys/fs/cgroup")
    certificate, asked = stand_ins(work)
    # Both ways to find a name, as the C library takes them where no file says which.
    seconds = [live(image, f"by-{i}", certificate, server, asked) for i, server in enumerate((BY_DNS, BY_FILE))]
    print(f"container: answers {min(seconds):.2f} s after its start")


def outside(program, work):
    since = time.monotonic()
    bring(PARTS | (PARTS_TO_COMPILE if program is None else {}))
    if program is None:
        options = stand_in_of_rust()
        image = build(*options)
    else:
        options = [f"--build-context=compile={folder_of(program, work)}"]
        image = build(*options)
        check(build(*options) == image, "a second build is another image")
    size = look(image)
    print(f"image: {image}, {size / 1e6:.1f} MB")
    told = subprocess.run(["unshare", "--mount", "--net", sys.executable, __file__, "--inside", image, str(work)])
    check(told.returncode == 0, "the container failed")
    print(f"image: all passed in {time.monotonic() - since:.0f} s")


def main():
    sys.stdout.reconfigure(line_buffering=True)
    if sys.argv[1:2] == ["--inside"]:
        return inside(sys.argv[2], pathlib.Path(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("program", nargs="?", metavar="PROGRAM", type=os.path.abspath)
    which.add_argument("--compile", action="store_true")
    given = parser.parse_args()
    if os.geteuid():
        check(shutil.which("sudo"), "it needs root")
        os.execvp("sudo", ["sudo", "-n", sys.executable, *sys.argv])
    with tempfile.TemporaryDirectory(prefix="vpc-cni-exporter-image-") as work:
        storage(pathlib.Path(work))
        outside(given.program, pathlib.Path(work))


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit(f"image: {failure}")
