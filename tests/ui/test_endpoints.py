"""The public endpoint, through the client that people use and through raw requests."""

from __future__ import annotations

import json
import math
import urllib.request
from typing import Any

import pytest
from gradio_client import Client

BAD = [
    float("nan"),
    float("inf"),
    -float("inf"),
    None,
    [],
    {},
    [1],
    {"a": 1},
    "",
    "nonsense",
    -1,
    10**12,
    True,
    1.5,
    "1",
    "NaN",
]
BAD += ["<script>", "\x00", "x" * 100, [None], [[]], {"": {}}, -0.001, 1e308, "null", "../../etc/passwd"]


@pytest.fixture(scope="module")
def client(address: str) -> Client:
    return Client(address, verbose=False)


def post(address: str, name: str, values: list[Any]) -> tuple[str, Any]:
    """What the queue answers to a raw request: the last event and its data."""
    body = json.dumps({"data": values}).encode()
    request = urllib.request.Request(
        f"{address}/gradio_api/call/{name}", body, {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=20) as reply:
        event = json.load(reply)["event_id"]
    with urllib.request.urlopen(f"{address}/gradio_api/call/{name}/{event}", timeout=30) as reply:
        lines = reply.read().decode().strip().splitlines()
    kind = [line[7:] for line in lines if line.startswith("event: ")][-1]
    data = [line[6:] for line in lines if line.startswith("data: ")][-1]
    return kind, json.loads(data)


def test_the_text_alone_is_enough(client: Client) -> None:
    document = client.predict("the keys to the cabinet", api_name="/saliency")
    assert document["model"] == "tiny"
    assert document["method"] == "occlusion"
    assert len(document["shares"]) == 1
    assert math.isclose(sum(document["shares"][0]), 1.0, abs_tol=1e-6)
    assert len(document["scores"][0]) == document["n_prompt"]
    json.dumps(document, allow_nan=False)


def test_named_parameters_are_those_of_the_command_line(client: Client) -> None:
    document = client.predict(
        "the keys", generate=2, method="integrated-gradients", points=8, baseline="zero", api_name="/saliency"
    )
    assert len(document["completeness"]) == 2
    assert document["completeness"][0]["points"] == 8


def test_bad_input_is_a_sentence(client: Client) -> None:
    for values, expected in [
        ({"text": ""}, "no text"),
        ({"text": "x" * 20_001}, "20,000"),
        ({"text": "the", "model": "/etc/passwd"}, "no model called"),
        ({"text": "the", "temperature": 0}, "temperature"),
        ({"text": "the", "generate": 0}, "no predicted token"),
    ]:
        with pytest.raises(Exception, match=expected):
            client.predict(**values, api_name="/saliency")


def test_every_bad_value_of_every_parameter_is_named(address: str, client: Client) -> None:
    endpoint = client.view_api(return_format="dict", print_info=False)["named_endpoints"]["/saliency"]
    names = [parameter["parameter_name"] for parameter in endpoint["parameters"]]
    defaults = [parameter.get("parameter_default") for parameter in endpoint["parameters"]]
    assert names[0] == "text"
    for number, name in enumerate(names):
        # A value that happens to be good (1.5 for a tolerance, say) must give an answer; anything else a sentence.
        for value in BAD[number % 5 :: 5]:
            values = ["the keys", *defaults[1:]]
            values[number] = value
            kind, data = post(address, "saliency", values)
            if kind == "error":
                assert data, f"{name}={value!r} gave an empty error"
                assert "went wrong on our side" not in str(data), f"{name}={value!r}: {data}"
            else:
                assert kind == "complete"
