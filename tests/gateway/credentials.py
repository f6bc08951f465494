"""Content Credentials made here: a throw-away authority, a signer, and c2pa-python's own builder. No network."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

from c2pa import Builder, C2paSignerInfo, Context, Signer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SOURCES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
OFFLINE = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
PEM = serialization.Encoding.PEM


def manifest(source: str = "trainedAlgorithmicMedia", agent: str = "A private studio") -> dict[str, Any]:
    action = {"action": "c2pa.created", "digitalSourceType": SOURCES + source, "softwareAgent": {"name": agent}}
    return {
        "title": "a private prompt",
        "claim_generator_info": [{"name": "test", "version": "1"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
    }


@dataclass(frozen=True)
class Authority:
    """A certificate authority and one signer that it vouches for."""

    root: bytes
    chain: bytes
    key: bytes

    def sign(  # noqa: PLR0913 - ingredients by name
        self,
        image: bytes,
        kind: str,
        what: dict[str, Any],
        *,
        parent: bytes | None = None,
        component: bytes | None = None,
        url: str | None = None,
    ) -> bytes:
        """The image with a manifest in it, or with the address of one."""
        ingredients = {"parentOf": parent, "componentOf": component}
        signed = BytesIO()
        with (
            Context.from_dict(OFFLINE) as context,
            Builder(what, context=context) as builder,
            Signer.from_info(C2paSignerInfo(b"es256", self.chain, self.key, None)) as signer,
        ):
            for relationship, ingredient in ingredients.items():
                if ingredient is not None:
                    builder.add_ingredient({"title": "it", "relationship": relationship}, kind, BytesIO(ingredient))
            if url:
                builder.set_no_embed()
                builder.set_remote_url(url)
            builder.sign(signer, kind, BytesIO(image), signed)
        return signed.getvalue()


def throw_away_authority(lasts: timedelta = timedelta(days=1)) -> Authority:
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certificate("Throw-away root", root_key, root_key, timedelta(days=1), is_root=True)
    leaf = _certificate("Throw-away signer", key, root_key, lasts, is_root=False)
    private = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Authority(root.public_bytes(PEM), leaf.public_bytes(PEM) + root.public_bytes(PEM), private)


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: ec.EllipticCurvePrivateKey, lasts: timedelta, *, is_root: bool
) -> x509.Certificate:
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        ["content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"], False
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name("Throw-away root"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + lasts)
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_root, key_cert_sign=is_root, crl_sign=is_root, decipher_only=False, **usage
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)
    )
    if not is_root:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purpose, critical=False)
    return builder.sign(issuer, hashes.SHA256())


def _name(common: str) -> x509.Name:
    parts = [(NameOID.COMMON_NAME, common), (NameOID.ORGANIZATION_NAME, "Throw-away")]
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts])
