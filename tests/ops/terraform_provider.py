"""A stand-in for Google's provider: it knows the schema, plans whatever keeps to it, and asks nobody.

`terraform_plan.py` runs it in an environment of its own, with the schema's file as its argument; it prints its port.
"""
# ruff: noqa: ANN401, N802 - the protocol's messages have no types here, and its calls have their own names

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import msgpack
from tf.gen import tfplugin_pb2 as messages
from tf.gen import tfplugin_pb2_grpc

UNKNOWN = msgpack.ExtType(0, b"\0")
OURS = {"attributes": {name: {"type": "string", "optional": True} for name in ("project", "region")}}
READ = {"number": "123456789012"}


def message(block: Mapping[str, Any]) -> Any:
    """A block of the schema as Terraform's protocol has it."""
    nested = messages.Schema.NestedBlock
    return messages.Schema.Block(
        attributes=[
            messages.Schema.Attribute(name=name, **(said | {"type": json.dumps(said["type"]).encode()}))
            for name, said in block["attributes"].items()
        ],
        block_types=[
            nested(
                type_name=name,
                nesting=getattr(nested.NestingMode, said["nesting_mode"].upper()),
                block=message(said["block"]),
                min_items=said.get("min_items", 0),
                max_items=said.get("max_items", 0),
            )
            for name, said in block.get("block_types", {}).items()
        ],
    )


class Provider(tfplugin_pb2_grpc.ProviderServicer):
    """What Terraform asks while it validates and plans."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema

    def GetProviderSchema(self, _request: Any, _context: Any) -> Any:
        known = {
            kind: {name: messages.Schema(block=message(block)) for name, block in self._schema[kind].items()}
            for kind in ("resource_schemas", "data_source_schemas")
        }
        return messages.GetProviderSchema.Response(provider=messages.Schema(block=message(OURS)), **known)

    def ValidateProviderConfig(self, _request: Any, _context: Any) -> Any:
        return messages.ValidateProviderConfig.Response()

    def ValidateResourceConfig(self, _request: Any, _context: Any) -> Any:
        return messages.ValidateResourceConfig.Response()

    def ValidateDataResourceConfig(self, _request: Any, _context: Any) -> Any:
        return messages.ValidateDataResourceConfig.Response()

    def ConfigureProvider(self, _request: Any, _context: Any) -> Any:
        return messages.ConfigureProvider.Response()

    def ReadDataSource(self, request: Any, _context: Any) -> Any:
        state = msgpack.packb(msgpack.unpackb(request.config.msgpack) | READ)
        return messages.ReadDataSource.Response(state=messages.DynamicValue(msgpack=state))

    def PlanResourceChange(self, request: Any, _context: Any) -> Any:
        state = msgpack.unpackb(request.proposed_new_state.msgpack, ext_hook=msgpack.ExtType)
        for name, said in self._schema["resource_schemas"][request.type_name]["attributes"].items():
            if said.get("computed") and state[name] is None:
                state[name] = UNKNOWN
        planned = messages.DynamicValue(msgpack=msgpack.packb(state))
        return messages.PlanResourceChange.Response(planned_state=planned)


def main() -> None:
    server = grpc.server(ThreadPoolExecutor())
    schema = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    tfplugin_pb2_grpc.add_ProviderServicer_to_server(Provider(schema), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
