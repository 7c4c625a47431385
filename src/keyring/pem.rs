//! RSA keys in all common PEM forms, converted to the two that the crypto library reads.

use pkcs8::{
    AlgorithmIdentifierRef, ObjectIdentifier, PrivateKeyInfoRef, SecretDocument, SubjectPublicKeyInfoRef,
    der::{
        Encode,
        asn1::{AnyRef, BitStringRef, OctetStringRef},
        pem::Decoder,
    },
};

use crate::{
    error::{Error, Result},
    secret::SecretBytes,
};

const RSA: AlgorithmIdentifierRef<'static> = AlgorithmIdentifierRef {
    oid: ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1"),
    parameters: Some(AnyRef::NULL),
};

/// Converts an RSA public key in PEM (X.509 or PKCS#1) to DER `SubjectPublicKeyInfo`.
pub(super) fn public_key(pem: &[u8]) -> Result<Vec<u8>> {
    const WHAT: &str = "the public key";
    let (label, der) = decode(WHAT, pem)?;
    match label {
        "PUBLIC KEY" => {
            let info = SubjectPublicKeyInfoRef::try_from(der.as_bytes()).map_err(|_| malformed(WHAT))?;
            check_algorithm(WHAT, info.algorithm)?;
            Ok(der.as_bytes().to_vec())
        }
        "RSA PUBLIC KEY" => {
            let subject_public_key = BitStringRef::from_bytes(der.as_bytes()).map_err(|_| malformed(WHAT))?;
            let info = SubjectPublicKeyInfoRef { algorithm: RSA, subject_public_key };
            info.to_der().map_err(|_| malformed(WHAT))
        }
        other => Err(refuse(format!("{WHAT} is PEM of type {other}; expected PUBLIC KEY or RSA PUBLIC KEY"))),
    }
}

/// Returns an RSA public key as DER `SubjectPublicKeyInfo`, from DER or from PEM that
/// [`public_key`] reads.
pub(super) fn public_key_or_der(bytes: &[u8]) -> Result<Vec<u8>> {
    const WHAT: &str = "the public key";
    if bytes.first() != Some(&DER_SEQUENCE) {
        return public_key(bytes);
    }
    let info = SubjectPublicKeyInfoRef::try_from(bytes).map_err(|_| malformed(WHAT))?;
    check_algorithm(WHAT, info.algorithm)?;
    Ok(bytes.to_vec())
}

/// The first byte of every DER key; no PEM text starts with it.
const DER_SEQUENCE: u8 = 0x30;

/// Converts an RSA private key in PEM (PKCS#8 or PKCS#1) to PKCS#8.
pub(super) fn private_key(pem: &[u8]) -> Result<SecretDocument> {
    const WHAT: &str = "the private key";
    // Encrypted PKCS#1 has headers, which RFC 7468 does not allow and the decoder below rejects as
    // malformed.
    if pem.windows(HEADER.len()).any(|bytes| bytes == HEADER) {
        return Err(encrypted());
    }
    let (label, der) = decode(WHAT, pem)?;
    match label {
        "PRIVATE KEY" => {
            let info = PrivateKeyInfoRef::try_from(der.as_bytes()).map_err(|_| malformed(WHAT))?;
            check_algorithm(WHAT, info.algorithm)?;
            SecretDocument::try_from(der.as_bytes()).map_err(|_| malformed(WHAT))
        }
        "RSA PRIVATE KEY" => {
            let key = OctetStringRef::new(der.as_bytes()).map_err(|_| malformed(WHAT))?;
            SecretDocument::encode_msg(&PrivateKeyInfoRef::new(RSA, key)).map_err(|_| malformed(WHAT))
        }
        "ENCRYPTED PRIVATE KEY" => Err(encrypted()),
        other => Err(refuse(format!("{WHAT} is PEM of type {other}; expected PRIVATE KEY or RSA PRIVATE KEY"))),
    }
}

const HEADER: &[u8] = b"Proc-Type: 4,ENCRYPTED";

/// Returns the label and content of a PEM text. Lines of any uniform width are accepted, and so is
/// text before it.
fn decode<'a>(what: &str, pem: &'a [u8]) -> Result<(&'a str, SecretBytes)> {
    let no_pem = |error| refuse(format!("{what} is not valid PEM: {error}"));
    let mut decoder = Decoder::new_detect_wrap(pem.trim_ascii_end()).map_err(no_pem)?;
    let mut der = SecretBytes::zeroed(decoder.remaining_len());
    decoder.decode(der.as_mut()).map_err(no_pem)?;
    Ok((decoder.type_label(), der))
}

fn check_algorithm(what: &str, algorithm: AlgorithmIdentifierRef<'_>) -> Result<()> {
    if algorithm.oid == RSA.oid {
        return Ok(());
    }
    Err(refuse(format!("{what} is not an RSA key; its algorithm is {}", algorithm.oid)))
}

fn encrypted() -> Error {
    let how = "openssl pkcs8 -topk8 -nocrypt -in ENCRYPTED.pem -out KEY.pem";
    refuse(format!("the private key is an encrypted PEM, which is not supported; decrypt it first: {how}"))
}

/// Returns the error for a key that is valid PEM but not a valid key.
pub(super) fn malformed(what: &str) -> Error {
    refuse(format!("{what} is malformed"))
}

fn refuse(why: String) -> Error {
    Error::Configuration(why)
}
