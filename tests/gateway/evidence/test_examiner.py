from __future__ import annotations

import json
import time
import tracemalloc
import zlib
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, PngImagePlugin
from starlette.testclient import TestClient

from gateway.evidence import examiner as examiner_module
from gateway.evidence.examiner import Examiner
from gateway.evidence.vocabulary import generator, parameters, source_type
from gateway.schemas import ExplanationWithEvidence, PredictionWithEvidence
from tests.gateway.conftest import LogLines
from tests.gateway.fakes import TorchServe, picture, upload
from tests.gateway.images.test_traps import in_jpeg, in_png, overlapping_exif, png_chunk, segment

SOURCES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
A1111 = "a private prompt\nNegative prompt: hands\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512"
COMFY_PROMPT = json.dumps({"3": {"class_type": "KSampler", "inputs": {"seed": 1}}})
COMFY_WORKFLOW = json.dumps({"last_node_id": 9, "nodes": [{"type": "KSampler"}], "links": []})
IMAGE = Image.new("RGB", (64, 48), "teal")
KINDS = ["JPEG", "PNG", "WEBP"]
Found = list[tuple[str, str, str]]


@pytest.fixture(scope="module")
def examiner() -> Examiner:
    return Examiner(None)


def findings(examiner: Examiner, data: bytes) -> Found:
    return [(item.type, item.value, item.strength) for item in examiner.examine(data)]


def saved(kind: str, **options: Any) -> bytes:  # noqa: ANN401 - any option of Pillow's
    buffer = BytesIO()
    IMAGE.save(buffer, kind, **options)
    return buffer.getvalue()


def with_exif(kind: str, **tags: str | bytes) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 1  # Pillow saves no EXIF whose main directory is empty
    for name, value in tags.items():
        directory: Any = exif.get_ifd(ExifTags.IFD.Exif) if name == "UserComment" else exif
        directory[ExifTags.Base[name]] = value
    return saved(kind, exif=exif)


def with_text(keyword: str, text: str, *, packed: bool = False, international: bool = False) -> bytes:
    info = PngImagePlugin.PngInfo()
    (info.add_itxt if international else info.add_text)(keyword, text, zip=packed)
    return saved("PNG", pnginfo=info)


def xmp(inside: str = "", attributes: str = "") -> bytes:
    return (
        '<?xpacket begin="\ufeff"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
        f'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" {attributes}>{inside}</rdf:Description></rdf:RDF>'
        "</x:xmpmeta><?xpacket end='w'?>"
    ).encode()


def with_xmp(kind: str, packet: bytes) -> bytes:
    if kind == "PNG":
        return in_png(png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet))
    return saved(kind, xmp=packet)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "packet",
    [
        xmp(attributes=f'Iptc4xmpExt:DigitalSourceType="{SOURCES}trainedAlgorithmicMedia"'),
        xmp(f"<Iptc4xmpExt:DigitalSourceType>{SOURCES}trainedAlgorithmicMedia</Iptc4xmpExt:DigitalSourceType>"),
        xmp(f'<Iptc4xmpExt:DigitalSourceType rdf:resource="{SOURCES}trainedAlgorithmicMedia"/>'),
    ],
    ids=["attribute", "element", "resource"],
)
def test_iptcs_source_type_is_medium_however_xmp_writes_it(examiner: Examiner, kind: str, packet: bytes) -> None:
    assert findings(examiner, with_xmp(kind, packet)) == [("iptc_source_type", "trainedAlgorithmicMedia", "medium")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_tool_named_in_xmp_is_weak(examiner: Examiner, kind: str) -> None:
    packet = xmp("<photoshop:Credit>Made with Google AI</photoshop:Credit>", 'xmp:CreatorTool="Adobe Firefly 2"')
    assert findings(examiner, with_xmp(kind, packet)) == [
        ("generator_software", "Adobe Firefly", "weak"),
        ("generator_software", "Google AI", "weak"),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_generator_in_exif_is_weak(examiner: Examiner, kind: str) -> None:
    assert findings(examiner, with_exif(kind, Software="Midjourney v6")) == [
        ("generator_software", "Midjourney", "weak")
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("codec", ["utf-16-be", "utf-16-le"])
def test_parameters_in_a_user_comment_are_medium(examiner: Examiner, kind: str, codec: str) -> None:
    data = with_exif(kind, UserComment=b"UNICODE\0" + A1111.encode(codec))
    assert findings(examiner, data) == [("generator_parameters", "Stable Diffusion parameters", "medium")]


def test_comfyuis_workflow_in_a_webp(examiner: Examiner) -> None:
    data = with_exif("WEBP", Make=f"workflow:{COMFY_WORKFLOW}", Model=f"prompt:{COMFY_PROMPT}")
    assert sorted(findings(examiner, data)) == [
        ("generator_parameters", "ComfyUI prompt", "medium"),
        ("generator_parameters", "ComfyUI workflow", "medium"),
    ]


@pytest.mark.parametrize(
    "how", [{}, {"packed": True}, {"international": True}, {"packed": True, "international": True}]
)
@pytest.mark.parametrize(
    ("keyword", "text", "expected"),
    [
        ("parameters", A1111, ("generator_parameters", "Stable Diffusion parameters", "medium")),
        ("prompt", COMFY_PROMPT, ("generator_parameters", "ComfyUI prompt", "medium")),
        ("workflow", COMFY_WORKFLOW, ("generator_parameters", "ComfyUI workflow", "medium")),
        ("Comment", '{"sampler": "k", "steps": 28}', ("generator_parameters", "NovelAI parameters", "medium")),
        ("invokeai_metadata", "{}", ("generator_parameters", "InvokeAI parameters", "medium")),
        ("fooocus_scheme", "fooocus", ("generator_parameters", "Fooocus parameters", "medium")),
        ("Software", "NovelAI", ("generator_software", "NovelAI", "weak")),
    ],
)
def test_png_text(examiner: Examiner, keyword: str, text: str, expected: Any, how: dict[str, bool]) -> None:  # noqa: ANN401
    assert findings(examiner, with_text(keyword, text, **how)) == [expected]


def test_text_behind_the_pixels_is_found(examiner: Examiner) -> None:
    data = picture("PNG")
    text = png_chunk(b"tEXt", b"parameters\0" + A1111.encode())
    assert findings(examiner, data[:-12] + text + data[-12:])[0][1] == "Stable Diffusion parameters"


@pytest.mark.parametrize(
    "data",
    [
        *(picture(kind) for kind in (*KINDS, "MPO")),
        with_exif("JPEG", Software="GIMP 2.10", Make="Canon", Model="EOS 5D", ImageDescription="Steps: up the hill"),
        with_text("Software", "Adobe Photoshop"),
        with_text("parameters", "contrast +3"),
        with_text("Comment", A1111[:20]),
        with_xmp("JPEG", xmp(attributes=f'Iptc4xmpExt:DigitalSourceType="{SOURCES}inventedByMe"')),
        with_xmp("JPEG", xmp(attributes='Iptc4xmpExt:DigitalSourceType="trainedAlgorithmicMedia"')),
    ],
)
def test_ordinary_files_give_no_evidence(examiner: Examiner, data: bytes) -> None:
    assert findings(examiner, data) == []


def test_each_finding_comes_once_and_no_more_than_twenty(examiner: Examiner, monkeypatch: pytest.MonkeyPatch) -> None:
    text = png_chunk(b"tEXt", b"parameters\0" + A1111.encode())
    assert len(findings(examiner, in_png(text * 30))) == 1
    monkeypatch.setattr(examiner_module, "MOST", 2)
    many = [png_chunk(b"tEXt", b"Software\0" + name) for name in (b"Midjourney", b"DALL-E", b"Ideogram", b"ComfyUI")]
    assert len(findings(examiner, in_png(*many))) == 2


BILLION_LAUGHS = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>' + xmp()
HOSTILE_XML = {
    "entities": BILLION_LAUGHS,
    "external entity": b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>',
    "nested": b"<a>" * 20_000,
    "nested and closed": b"<a>" * 20_000 + b"</a>" * 20_000,
    "attributes": b"<a " + b" ".join(b'a%d="1"' % index for index in range(7000)) + b"/>",
    "not XML": b"\xff\xfe\0<",
    "unknown encoding": b'<?xml version="1.0" encoding="klingon"?><a/>',
    "bad encoding": b'<?xml version="1.0" encoding="utf-16"?><a/>',
    "zeros": bytes(60_000),
    "empty": b"",
}
BOMB = zlib.compress(bytes(50_000_000), 9)
ONE_TAG = b"\x01\x31\0\2\0\x40" + bytes(6)
HOSTILE = {
    **{
        f"XMP {name}": in_png(png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xml))
        for name, xml in HOSTILE_XML.items()
    },
    "XMP in a JPEG": in_jpeg(segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + BILLION_LAUGHS)),
    "packed XMP bomb": in_png(png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + BOMB)),
    "zTXt bombs": in_png(png_chunk(b"zTXt", b"parameters\0\0" + BOMB) * 60),
    "iTXt bombs": in_png(png_chunk(b"iTXt", b"prompt\0\1\0\0\0" + BOMB) * 60),
    "long text": in_png(png_chunk(b"tEXt", b"parameters\0" + b"Steps: " * 600_000)),
    "many texts": in_png(png_chunk(b"tEXt", b"parameters\0x") * 15_000),
    "broken texts": in_png(*(png_chunk(kind, b"prompt") for kind in (b"tEXt", b"zTXt", b"iTXt"))),
    "overlapping EXIF": in_png(png_chunk(b"eXIf", overlapping_exif(20_000, 4_000_000))),
    "EXIF pointing at itself": in_png(png_chunk(b"eXIf", b"II*\0\b\0\0\0\1\0\x69\x87\4\0\1\0\0\0\b" + bytes(7))),
    "EXIF of one tag": in_png(png_chunk(b"eXIf", b"MM\0*\0\0\0\b\xff\xff" + ONE_TAG * 60_000)),
    "empty EXIF": in_png(png_chunk(b"eXIf", b"")),
}  # fmt: skip


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_metadata_says_nothing_in_bounded_time_and_memory(examiner: Examiner, data: bytes) -> None:
    started = time.process_time()
    tracemalloc.start()
    try:
        assert findings(examiner, data) == []
        assert tracemalloc.get_traced_memory()[1] < 40_000_000
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < 5  # tracing makes it many times slower than it is


CHUNKS = st.sampled_from([b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"caBX", b"IDAT"])
HEADS = st.sampled_from(
    [b"", b"parameters\0", b"prompt\0\0", b"XML:com.adobe.xmp\0\0\0\0\0<a", b"II*\0\b\0\0\0", b"MM"]
)


@settings(max_examples=200, deadline=None)
@given(parts=st.lists(st.tuples(CHUNKS, HEADS, st.binary(max_size=60)), max_size=4), cut=st.integers(0, 400))
def test_no_png_breaks_the_examiner(examiner: Examiner, parts: list[tuple[bytes, bytes, bytes]], cut: int) -> None:
    data = in_png(*(png_chunk(name, head + tail) for name, head, tail in parts))
    values = {item.value for item in examiner.examine(data[: max(len(data) - cut, 40)])}
    assert values <= {"cannot be read"}


@settings(max_examples=200, deadline=None)
@given(marker=st.sampled_from([0xE0, 0xE1, 0xE2, 0xEB, 0xFE]), content=st.binary(max_size=80), head=HEADS)
def test_no_jpeg_breaks_the_examiner(examiner: Examiner, marker: int, content: bytes, head: bytes) -> None:
    examiner.examine(in_jpeg(segment(marker, b"Exif\0\0" + head + content), segment(marker, content)))


def test_a_failing_reader_costs_no_answer(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    def broken(_: object) -> Any:  # noqa: ANN401
        raise RuntimeError("secret")

    monkeypatch.setattr(examiner_module, "xmp_evidence", broken)
    data = with_text("Software", "NovelAI")
    answer = client.post("/predict?include=evidence", files={"file": upload(data)})
    assert answer.json()["evidence"] == [{"type": "generator_software", "value": "NovelAI", "strength": "weak"}]
    failed, request = log_lines()
    assert (failed["event"], failed["reader"], failed["cause"]) == ("evidence_reader_failed", "xmp", "RuntimeError")
    assert "secret" not in f"{failed}{request}"


@pytest.mark.parametrize(
    ("path", "schema"), [("/predict", PredictionWithEvidence), ("/v1/predict/explain", ExplanationWithEvidence)]
)
def test_evidence_comes_after_the_documented_fields_and_only_on_demand(
    client: TestClient, path: str, schema: type[PredictionWithEvidence]
) -> None:
    files = {"file": upload(with_text("parameters", A1111))}
    plain = client.post(path, files=files).json()
    body = client.post(f"{path}?include=evidence", files=files).json()
    assert schema.model_validate(body)
    assert list(body) == [*plain, "evidence"]
    assert body["probability"] == plain["probability"]
    assert body["evidence"] == [
        {"type": "generator_parameters", "value": "Stable Diffusion parameters", "strength": "medium"}
    ]
    assert "private" not in str(body)


def test_no_evidence_is_an_empty_list(client: TestClient) -> None:
    body = client.post("/predict?include=evidence", files={"file": upload(picture("JPEG"))}).json()
    assert body["evidence"] == []


@pytest.mark.parametrize(
    "query", ["include=evidence&include=evidence", "include=evidence,evidence", "include=%20evidence"]
)
def test_asking_twice_is_asking(client: TestClient, query: str) -> None:
    assert client.post(f"/predict?{query}", files={"file": upload(picture("JPEG"))}).json()["evidence"] == []


@pytest.mark.parametrize(
    ("address", "detail"),
    [
        ("/predict?include=everything", "Values of `include`: evidence."),
        ("/predict?include=", "Values of `include`: evidence."),
        ("/predict/explain?include=evidence,more", "Values of `include`: evidence."),
        ("/v1/predict/batch?include=evidence", "Values of `include`: none on this route."),
    ],
)
def test_an_unknown_extra_is_400(client: TestClient, torchserve: TorchServe, address: str, detail: str) -> None:
    field = "files" if "batch" in address else "file"
    answer = client.post(address, files={field: upload(picture("JPEG"))})
    assert answer.status_code == 400
    assert answer.json() == {"error": "Invalid parameter", "detail": detail}
    assert torchserve.requests == []


def test_the_vocabulary_is_ours() -> None:
    assert generator("x" * 5000 + "Midjourney") is None
    assert generator("editor de imagen, wildfirefly") is None
    assert generator("dall·e 3") == "DALL-E"
    assert parameters("Steps: 3 to the door") is None
    assert source_type(f" {SOURCES}digitalCapture/ ") == "digitalCapture"
    assert source_type(f"{SOURCES}digitalCapture/../../x") is None
