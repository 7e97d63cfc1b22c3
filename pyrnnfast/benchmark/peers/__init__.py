"""Adapters, one small class for each library.

To add one, write a subclass of Peer in a file here and name it in PEERS.
"""

from pyrnnfast.benchmark.peers.base import Peer, UnsupportedError
from pyrnnfast.benchmark.peers.bridge import BRIDGE, Accelerated
from pyrnnfast.benchmark.peers.keras import Keras
from pyrnnfast.benchmark.peers.onnx_runtime import OnnxRuntime
from pyrnnfast.benchmark.peers.openvino import OpenVINO
from pyrnnfast.benchmark.peers.ours import Ours, OursStream, Plain
from pyrnnfast.benchmark.peers.pytorch import PyTorch
from pyrnnfast.benchmark.peers.reference import Reference

__all__ = [
    "BRIDGE",
    "PEERS",
    "Accelerated",
    "Keras",
    "OnnxRuntime",
    "OpenVINO",
    "Ours",
    "OursStream",
    "Peer",
    "Plain",
    "PyTorch",
    "Reference",
    "UnsupportedError",
]

PEERS: tuple[type[Peer], ...] = (Ours, Plain, OursStream, PyTorch, Keras, OnnxRuntime, OpenVINO, Reference)
"""Every adapter, ours first: the others' results are held against it."""
