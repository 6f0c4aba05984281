"""Certificates: one place believes them, and any other bytes are refused as what they are."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import MoorageError, PeerRefusedError
from core.identity import (
    CERTIFICATE_MAX_BYTES,
    certificate_end_s,
    certificate_pem,
    issue_certificate,
    key_from_seed,
    private_pem,
    public_bytes,
    read_certificate,
)
from core.ids import PeerId
from tests.sim.clock import START_S
from tests.sim.people import YEAR_S, make_organisation

# cryptography warns of what mutation did to serial numbers and names; it is refused all the same.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Parsed a serial number"),
    pytest.mark.filterwarnings("ignore:Attribute's length must be"),
]
HOSPITAL = make_organisation("St. Elsewhere")
CLINIC = make_organisation("Clinic")
ISSUERS = HOSPITAL.issuers | CLINIC.issuers
ANNA = HOSPITAL.admit("anna", site="basement")


def subject(**names: list[str]) -> x509.Name:
    kinds = {
        "O": NameOID.ORGANIZATION_NAME,
        "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
        "L": NameOID.LOCALITY_NAME,
        "CN": NameOID.COMMON_NAME,
    }
    return x509.Name([x509.NameAttribute(kinds[kind], text) for kind, texts in names.items() for text in texts])


FINE = {"O": ["St. Elsewhere"], "OU": ["peer"], "L": ["basement"], "CN": ["anna"]}


def hand_made(name: x509.Name, key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey = ANNA.key) -> bytes:
    """Signed by the hospital, whatever it says."""
    day = datetime.timedelta(days=1)
    now = datetime.datetime.fromtimestamp(START_S, datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).public_key(key.public_key()).serial_number(7)
    builder = builder.issuer_name(x509.load_der_x509_certificate(HOSPITAL.issuer).subject)
    builder = builder.not_valid_before(now - day).not_valid_after(now + day)
    return builder.sign(HOSPITAL.key, None).public_bytes(serialization.Encoding.DER)


def test_a_certificate_says_who_its_holder_is() -> None:
    identity, key = read_certificate(ANNA.certificate, ISSUERS, now=START_S)
    assert key == public_bytes(ANNA.key)
    assert identity.peer == PeerId.of_key(key)
    assert (identity.organisation, identity.site, identity.name) == ("St. Elsewhere", "basement", "anna")
    assert (identity.role, identity.certificate) == ("peer", ANNA.certificate)
    assert read_certificate(HOSPITAL.admit("bert", role="client").certificate, ISSUERS, now=START_S)[0].role == "client"
    assert read_certificate(hand_made(subject(**FINE)), ISSUERS, now=START_S)[0].name == "anna"


def test_it_is_believed_in_its_time_only() -> None:
    end_s = certificate_end_s(ANNA.certificate)
    assert end_s == START_S + YEAR_S
    for now in (START_S - 300, START_S, end_s):
        read_certificate(ANNA.certificate, ISSUERS, now=now)
    for now in (START_S - 301, end_s + 1, 0.0):
        with pytest.raises(PeerRefusedError, match=r"(ended|begins) on 20\d\d-\d\d-\d\d: "):
            read_certificate(ANNA.certificate, ISSUERS, now=now)


def test_it_dies_with_its_issuer() -> None:
    forever = HOSPITAL.admit("eternal", valid_s=20 * YEAR_S)
    with pytest.raises(PeerRefusedError, match="issuer's certificate of"):
        read_certificate(forever.certificate, ISSUERS, now=START_S + 11 * YEAR_S)


def test_only_the_organisation_it_names_can_vouch_for_it() -> None:
    with pytest.raises(PeerRefusedError, match="not on this pool's roster"):
        read_certificate(ANNA.certificate, CLINIC.issuers, now=START_S)
    impostor = make_organisation("St. Elsewhere", pool="another").admit("anna")
    with pytest.raises(PeerRefusedError, match="not issued by"):
        read_certificate(impostor.certificate, ISSUERS, now=START_S)
    with pytest.raises(PeerRefusedError, match="not issued by"):
        read_certificate(ANNA.certificate, {"St. Elsewhere": CLINIC.issuer}, now=START_S)


def test_a_peer_cannot_vouch_for_others() -> None:
    forged = issue_certificate(
        ANNA.key,
        HOSPITAL.issuer,
        key_from_seed(b"m" * 32).public_key(),
        name="mallory",
        site="basement",
        role="peer",
        now=START_S,
        valid_s=YEAR_S,
        serial=b"1" * 19,
    )
    with pytest.raises(PeerRefusedError, match="not issued by"):
        read_certificate(forged, ISSUERS, now=START_S)
    with pytest.raises(PeerRefusedError):
        read_certificate(HOSPITAL.issuer, ISSUERS, now=START_S)


@pytest.mark.parametrize(
    "names",
    [
        FINE | {"OU": ["admin"]},
        FINE | {"OU": []},
        FINE | {"OU": ["peer", "client"]},
        FINE | {"CN": []},
        FINE | {"CN": ["anna", "bert"]},
        FINE | {"L": []},
        FINE | {"O": ["St. Elsewhere", "Clinic"]},
        FINE | {"CN": ["anna\nroot"]},
        FINE | {"L": ["\x1b[2J"]},
        FINE | {"CN": ["anna\u202egnp.exe"]},
    ],
    ids=lambda names: "/".join(",".join(texts) for texts in names.values()).encode("unicode_escape").decode(),
)
def test_a_name_is_there_once_and_can_be_printed(names: dict[str, list[str]]) -> None:
    with pytest.raises(PeerRefusedError):
        read_certificate(hand_made(subject(**names)), ISSUERS, now=START_S)


def test_other_keys_than_ed25519_are_refused() -> None:
    certificate = hand_made(subject(**FINE), ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(PeerRefusedError, match="not Ed25519"):
        read_certificate(certificate, ISSUERS, now=START_S)


def test_other_signatures_than_ed25519_are_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    day = datetime.timedelta(days=1)
    now = datetime.datetime.fromtimestamp(START_S, datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject(**FINE)).public_key(ANNA.key.public_key()).serial_number(7)
    builder = builder.issuer_name(x509.load_der_x509_certificate(HOSPITAL.issuer).subject)
    builder = builder.not_valid_before(now - day).not_valid_after(now + day)
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    with pytest.raises(PeerRefusedError):
        read_certificate(certificate, ISSUERS, now=START_S)


def test_size_is_bounded_before_anything_is_parsed() -> None:
    with pytest.raises(PeerRefusedError, match="at most"):
        read_certificate(bytes(CERTIFICATE_MAX_BYTES + 1), ISSUERS, now=START_S)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(PeerRefusedError):
        read_certificate(data, ISSUERS, now=START_S)


@settings(max_examples=400)
@given(st.data())
def test_a_changed_certificate_is_refused(data: st.DataObject) -> None:
    changed = bytearray(ANNA.certificate)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    if changed == ANNA.certificate:
        return
    with pytest.raises(MoorageError):
        read_certificate(bytes(changed), ISSUERS, now=START_S)


def test_keys_and_certificates_can_be_written_and_read_again() -> None:
    loaded = serialization.load_pem_private_key(private_pem(ANNA.key), password=None)
    assert isinstance(loaded, Ed25519PrivateKey)
    assert public_bytes(loaded) == public_bytes(ANNA.key)
    parsed = x509.load_pem_x509_certificate(certificate_pem(ANNA.certificate))
    assert parsed.public_bytes(serialization.Encoding.DER) == ANNA.certificate


def test_the_last_bits_of_a_signature_are_not_said_to_be_unused() -> None:
    """X.509 signatures do not cover that number; where those bits are zero, two encodings would be one certificate."""
    for number in range(40):
        certificate = HOSPITAL.admit(f"peer-{number}").certificate
        at = len(certificate) - 65
        assert certificate[at] == 0
        changed = certificate[:at] + b"\1" + certificate[at + 1 :]
        with pytest.raises(PeerRefusedError):
            read_certificate(changed, ISSUERS, now=START_S)
