"""The public endpoints, through the client that people use and through raw requests."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.request
from typing import Any

import pytest
from gradio_client import Client
from served import Served

from analyzers.common.limits import LIMITS
from analyzers.serving.analyses import public_analyses
from analyzers.serving.request import COMMON, parameters_of

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


def post_all(
    address: str, event: int, session: str, inputs: list[list[Any]], clicked: list[Any] | None = None
) -> list[dict[str, Any]]:
    """What the queue answers to several raw requests of one visitor, who listens once for all of them. `clicked`: what each
    says of where it was clicked."""
    ids = []
    for number, values in enumerate(inputs):
        body: dict[str, Any] = {"data": values, "fn_index": event, "session_hash": session}
        if clicked is not None:
            body["event_data"] = {"index": clicked[number]}
        request = urllib.request.Request(
            f"{address}/gradio_api/queue/join", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=20) as reply:
            ids.append(json.load(reply)["event_id"])
    said: dict[str, Any] = {}
    with urllib.request.urlopen(f"{address}/gradio_api/queue/data?session_hash={session}", timeout=60) as reply:
        for line in reply:
            message = json.loads(line[6:]) if line.startswith(b"data: ") else {}
            if message.get("msg") == "process_completed":
                said[message["event_id"]] = message
    return [said[id] for id in ids]


def test_the_text_alone_is_enough(client: Client) -> None:
    document = client.predict("the keys to the cabinet", api_name="/saliency")
    assert document["model"] == "tiny"
    assert document["method"] == "occlusion"
    assert len(document["shares"]) == 1
    assert math.isclose(sum(document["shares"][0]), 1.0, abs_tol=1e-6)
    assert len(document["scores"][0]) == document["n_prompt"]
    json.dumps(document, allow_nan=False)


@pytest.mark.parametrize("name", ["saliency", "layer_predictions", "rankings", "neuron_factors"])
def test_a_raw_request_needs_no_more_than_the_text(address: str, name: str) -> None:
    kind, data = post(address, name, ["the keys to the cabinet"])
    assert kind == "complete", data
    assert data[0]["model"] == "tiny"
    kind, data = post(address, name, [])
    assert (kind, "There is no text" in data["error"]) == ("error", True)


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


ENDPOINTS = ["saliency", "layer_predictions", "rankings", "neuron_factors", "map_comparison", "layer_similarity"]
NAMED_OTHERWISE = {"first": "position", "beside": "model"}
"""Parameters whose sentence speaks of what they stand for."""


def test_every_analysis_has_its_endpoint(client: Client) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(endpoints) == {f"/{name}" for name in ENDPOINTS}
    assert [row.endpoint for row in public_analyses()] == ENDPOINTS


@pytest.mark.parametrize("name", ENDPOINTS)
def test_parameters_are_the_text_then_the_settings_with_their_defaults(client: Client, name: str) -> None:
    endpoint = client.view_api(return_format="dict", print_info=False)["named_endpoints"][f"/{name}"]
    settings = parameters_of(name.replace("_", "-"))
    parameters = endpoint["parameters"]
    assert [one["parameter_name"] for one in parameters] == ["text", *(setting.name for setting in settings)]
    assert [one["parameter_has_default"] for one in parameters] == [False, *(True for _ in settings)]
    defaults = [list(setting.default) if setting.type == "texts" else setting.default for setting in settings]
    assert [one["parameter_default"] for one in parameters[1:]] == defaults


@pytest.mark.parametrize("name", ENDPOINTS)
def test_every_bad_value_of_every_parameter_is_named(address: str, client: Client, name: str) -> None:
    endpoint = client.view_api(return_format="dict", print_info=False)["named_endpoints"][f"/{name}"]
    names = [parameter["parameter_name"] for parameter in endpoint["parameters"]]
    defaults = [parameter.get("parameter_default") for parameter in endpoint["parameters"]]
    assert names[0] == "text"
    with urllib.request.urlopen(f"{address}/config", timeout=20) as reply:
        dependencies = json.load(reply)["dependencies"]
    (event,) = [one["id"] for one in dependencies if one["api_name"] == name]

    def refusals(number: int) -> set[str]:
        """A value that happens to be good (1.5 for a tolerance, say) must give an answer; anything else a sentence."""
        parameter = names[number]
        usual = ["the keys to the café", *defaults[1:]]
        inputs = [[*usual[:number], value, *usual[number + 1 :]] for value in BAD]
        found = set()
        for value, answer in zip(BAD, post_all(address, event, f"{name}-{parameter}", inputs), strict=True):
            if not answer["success"]:
                said = str(answer["output"]["error"])
                assert "went wrong on our side" not in said, f"{parameter}={value!r}: {said}"
                named = (parameter, NAMED_OTHERWISE.get(parameter, parameter))
                assert any(name in said.lower() for name in named), f"{parameter}={value!r}: {said}"
                found.add(parameter)
        return found

    # The common ones pass the same gate in every analysis: one endpoint is asked about those.
    common = {setting.name for setting in COMMON} if name != ENDPOINTS[0] else set()
    asked = [number for number, parameter in enumerate(names) if parameter not in common]
    assert len(BAD) <= LIMITS.queue, "all values of a parameter wait at once"
    assert set().union(*map(refusals, asked)) == {names[number] for number in asked}


CANARY = "canary7331"
NONSENSE = [f"\ud800{CANARY}", CANARY, {"a": CANARY}, [CANARY, "\udfff"], [{CANARY: [CANARY]}], 10**40, *BAD]


def test_every_event_of_the_page_says_what_is_wrong_and_logs_nothing_of_it(served_app: Served) -> None:
    """Each with every value in the place of all that it is given."""
    address = served_app.address
    with urllib.request.urlopen(f"{address}/config", timeout=20) as reply:
        config = json.load(reply)
    events = [one for one in config["dependencies"] if one["backend_fn"] and one["id"] is not None]
    assert len(events) > 30
    before = served_app.log.read_text()
    assert len(NONSENSE) <= LIMITS.queue

    def answer(event: dict[str, Any]) -> None:
        inputs = [[value] * len(event["inputs"]) for value in NONSENSE]
        said = post_all(address, event["id"], f"nonsense{event['id']}", inputs, NONSENSE)
        for value, one in zip(NONSENSE, said, strict=True):
            if not one["success"]:
                sentence = one["output"]["error"]
                assert sentence, (event["id"], value)
                assert sentence.endswith((".", "。")), (event["id"], value, sentence)

    for event in events:
        answer(event)
    logged = served_app.log.read_text()[len(before) :]
    assert CANARY not in logged
    assert "Traceback" not in logged
    kind, said = post(address, "saliency", ["the keys"])
    assert kind == "complete", said


def test_layer_predictions_of_the_text_alone(client: Client) -> None:
    document = client.predict("the keys to the cabinet", api_name="/layer_predictions")
    assert document["model"] == "tiny"
    assert document["position"] == document["n_prompt"]
    assert [row["layer"] for row in document["layers"]] == [-1, 0, 1, 2]
    for row in document["layers"]:
        assert set(row) == {"layer", "predictions", "entropy", "kl"}
        assert len(row["predictions"]) == 10
        assert all(set(one) == {"id", "text", "probability"} for one in row["predictions"])
    said = document["layers"][-1]["predictions"][0]
    assert (said["id"], said["text"]) == (document["chosen"]["id"], document["chosen"]["text"])
    assert document["tokens"][document["position"]]["id"] == said["id"]
    assert abs(document["layers"][-1]["kl"]) < 1e-6
    json.dumps(document, allow_nan=False)


def test_layer_predictions_take_their_settings(client: Client) -> None:
    settings = {"position": 2, "layer": -1, "top": 3, "generate": 0, "without_final_norm": True}
    document = client.predict("the keys to the cabinet", **settings, api_name="/layer_predictions")
    assert document["position"] == 2
    assert [row["layer"] for row in document["layers"]] == [-1]
    assert len(document["layers"][0]["predictions"]) == 3
    assert document["without_final_norm"] is True
    assert len(document["tokens"]) == document["n_prompt"]


def test_rankings_of_the_text_alone(client: Client) -> None:
    document = client.predict("the keys to the cabinet", api_name="/rankings")
    n = document["n_prompt"]
    assert document["outputs"] == [n]
    assert [len(row) for row in document["ranks"]] == [1, 1, 1]
    assert [len(row) for row in document["ties"]] == [1, 1, 1]
    assert document["ranks"][-1] == [1]
    first = [row == [1] for row in document["ranks"]]
    assert document["commitment"] == [next(layer for layer in range(3) if all(first[layer:]))]
    assert document["watch"] is None
    json.dumps(document, allow_nan=False)


def test_rankings_take_their_settings(client: Client) -> None:
    settings = {"watch": [" the", " keys", " the"], "position": 2, "generate": 3}
    document = client.predict("the keys to the cabinet", **settings, api_name="/rankings")
    assert len(document["outputs"]) == 3
    watch = document["watch"]
    assert watch["position"] == 2
    assert watch["tokens"][0]["text"] == " the"
    assert len(watch["tokens"]) == 2
    assert [len(row) for row in watch["ranks"]] == [2, 2, 2]


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("layer_predictions", {"position": 0}, "position"),
        ("layer_predictions", {"position": 99}, "position"),
        ("layer_predictions", {"layer": 3}, "layer must be a whole number from -1 to 2"),
        ("layer_predictions", {"layer": -2}, "layer must be a whole number from -1"),
        ("layer_predictions", {"top": 0}, "top must be"),
        ("layer_predictions", {"top": 51}, "top must be"),
        ("rankings", {"position": 0, "watch": [" the"]}, "position"),
        ("rankings", {"position": 99, "watch": [" the"]}, "position"),
        ("rankings", {"watch": [f" w{n}" for n in range(17)]}, "At most 16"),
        ("rankings", {"watch": [""]}, "watch is empty"),
        ("rankings", {"watch": [" the", ""]}, "watch is empty"),
        ("rankings", {"watch": ["x" * 20_001]}, "watch"),
        ("rankings", {"watch": "the"}, "watch must be a list"),
        ("rankings", {"watch": [1]}, "watch must be a list"),
        ("neuron_factors", {"factors": 0}, "factors must be a whole number from 1 to 32; this is 0"),
        ("neuron_factors", {"factors": 33}, "factors must be a whole number from 1 to 32; this is 33"),
        ("neuron_factors", {"factors": 20}, "20 factors cannot be told apart"),
        ("neuron_factors", {"first_layer": 3}, "no layers 3 to 2"),
        ("neuron_factors", {"first_layer": 2, "last_layer": 1}, "no layers 2 to 1"),
        ("neuron_factors", {"last_layer": 3}, "no layers 0 to 3"),
        ("neuron_factors", {"parts": "negative"}, "parts must be one of positive, split"),
        ("neuron_factors", {"text": "t", "generate": 0}, "0 of 1 tokens are left to factorise"),
    ],
    ids=str,
)
def test_what_is_out_of_range_is_refused_with_the_range(
    client: Client, name: str, settings: dict[str, Any], expected: str
) -> None:
    with pytest.raises(Exception, match=expected):
        client.predict(**({"text": "the keys"} | settings), api_name=f"/{name}")


def test_neuron_factors_of_the_text_alone(client: Client) -> None:
    document = client.predict("the keys to the cabinet are on the table", api_name="/neuron_factors")
    assert document["layers"] == [0, 1, 2]
    assert document["left_out"] == [0]
    assert len(document["factors"]) == 8
    assert 0 < document["error"] < 1
    for factor in document["factors"]:
        assert [i for i, value in enumerate(factor["activations"]) if value is None] == [0]
        assert len(factor["activations"]) == len(document["tokens"]) == document["n_prompt"] + 1
        assert math.isclose(sum(factor["layer_shares"]), 1.0, abs_tol=1e-5)
    json.dumps(document, allow_nan=False)


def test_neuron_factors_take_their_settings(client: Client) -> None:
    settings: dict[str, Any] = {"factors": 3, "first_layer": 1, "last_layer": 1, "include_first_token": True}
    settings |= {"include_special": True, "unscaled": True, "parts": "split", "generate": 0}
    document = client.predict("the keys<|end|> to the cabinet", **settings, api_name="/neuron_factors")
    assert (document["layers"], document["left_out"], document["parts"]) == ([1], [], "split")
    assert document["scaled"] is False
    assert [len(factor["layer_shares"]) for factor in document["factors"]] == [1, 1, 1]
    assert {one["layer"] for factor in document["factors"] for one in factor["top_neurons"]} == {1}
    assert len(document["tokens"]) == document["n_prompt"]


def test_the_position_that_was_not_written_can_be_read(client: Client) -> None:
    n = client.predict("the keys", generate=0, api_name="/rankings")["n_prompt"]
    document = client.predict("the keys", position=n, generate=0, api_name="/layer_predictions")
    assert (document["n_prompt"], document["position"], document["chosen"]) == (n, n, None)


def test_sixteen_words_can_be_watched(client: Client) -> None:
    watch = [chr(ord("a") + n) for n in range(16)]
    document = client.predict("the keys", watch=watch, api_name="/rankings")
    assert [token["text"] for token in document["watch"]["tokens"]] == watch
