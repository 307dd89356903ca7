"""Generates the Python stubs of shoal from proto/ into generated/, afresh each time."""

import shutil
import sys
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).resolve().parent
PROTO = HERE.parent.parent / "proto"
OUT = HERE / "generated"


def main() -> int:
    files = sorted(str(path.relative_to(PROTO)) for path in PROTO.glob("shoal/v1/*.proto"))
    if not files:
        print(f"no shoal/v1/*.proto below {PROTO}", file=sys.stderr)
        return 1
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    # google/protobuf/*.proto come with grpcio-tools.
    well_known = resources.files("grpc_tools") / "_proto"
    code = protoc.main(
        [
            "protoc",
            f"--proto_path={PROTO}",
            f"--proto_path={well_known}",
            f"--python_out={OUT}",
            f"--pyi_out={OUT}",
            f"--grpc_python_out={OUT}",
            *files,
        ]
    )
    if code == 0:
        print(f"stubs of {len(files)} files in {OUT}")
    return code


if __name__ == "__main__":
    sys.exit(main())
