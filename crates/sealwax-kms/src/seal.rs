//! Encryption and authentication of everything in a store: two small constructions over
//! HKDF-SHA-256 and AES-256-GCM.

use sealwax::{
    Error, Result, SecretBytes,
    crypto::{CryptoProvider, Expand, HashAlgorithm, IV_LENGTH, RustCrypto, TAG_LENGTH},
};

/// The length in bytes of every key in a store.
pub(super) const KEY_LENGTH: usize = 32;
/// The length in bytes of a [`tag`].
pub(super) const MAC_LENGTH: usize = 32;
const SALT_LENGTH: usize = 32;
/// The number of bytes that [`seal`] adds.
pub(super) const OVERHEAD: usize = SALT_LENGTH + TAG_LENGTH;

/// Encrypts a plaintext to `salt || ciphertext || tag`.
///
/// Each plaintext has its own AES key, derived from `key` with a random 256-bit salt, so the IV can
/// be fixed. Random 96-bit IVs would limit a key to 2^32 plaintexts, which a busy store reaches;
/// 256-bit salts do not collide.
///
/// `label` is the purpose of the plaintext, so that a ciphertext for one purpose does not open for
/// another.
pub(super) fn seal(key: &SecretBytes, label: &str, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>> {
    let mut out = vec![0; OVERHEAD + plaintext.len()];
    let (salt, rest) = out.split_at_mut(SALT_LENGTH);
    let (text, tag) = rest.split_at_mut(plaintext.len());
    RustCrypto.random(salt)?;
    let key = RustCrypto.aes_gcm(derive(key, salt, label, &[])?.as_bytes())?;
    tag.copy_from_slice(&key.seal(&[0; IV_LENGTH], aad, plaintext, text)?);
    Ok(out)
}

/// Decrypts what [`seal`] returned.
///
/// # Errors
/// [`Error::Integrity`] for anything else.
pub(super) fn open(key: &SecretBytes, label: &str, aad: &[u8], sealed: &[u8]) -> Result<SecretBytes> {
    let (salt, rest) = sealed.split_at_checked(SALT_LENGTH).ok_or(Error::Integrity)?;
    let (text, tag) = rest.split_last_chunk::<TAG_LENGTH>().ok_or(Error::Integrity)?;
    let key = RustCrypto.aes_gcm(derive(key, salt, label, &[])?.as_bytes())?;
    let mut plaintext = SecretBytes::zeroed(text.len());
    key.open(&[0; IV_LENGTH], aad, text, tag, plaintext.as_mut())?;
    Ok(plaintext)
}

/// Authenticates bytes with HKDF, which is HMAC inside, over their SHA-256 digest.
pub(super) fn tag(key: &SecretBytes, label: &str, bytes: &[u8]) -> Result<SecretBytes> {
    derive(key, &[], label, &digest(bytes))
}

/// Returns the SHA-256 digest.
pub(super) fn digest(bytes: &[u8]) -> Vec<u8> {
    let mut digest = RustCrypto.digest(HashAlgorithm::Sha256);
    digest.update(bytes);
    digest.finish()
}

fn derive(key: &SecretBytes, salt: &[u8], label: &str, info: &[u8]) -> Result<SecretBytes> {
    let mut derived = SecretBytes::zeroed(KEY_LENGTH);
    // Each label ends with its only zero byte, so no label is a prefix of another.
    let label = [b"sealwax-local 1 ", label.as_bytes(), &[0]].concat();
    let output = Expand { info: [&label, info], out: derived.as_mut() };
    RustCrypto.hkdf(HashAlgorithm::Sha256, salt, key.as_bytes(), &mut [output])?;
    Ok(derived)
}

/// Concatenates parts, each preceded by its length, so that bytes cannot shift between adjacent
/// parts.
pub(super) fn joined(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.iter().map(|part| 8 + part.len()).sum());
    for part in parts {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// Returns the hexadecimal form of bytes.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// Returns `N` random bytes in hexadecimal.
pub(super) fn random_hex<const N: usize>() -> Result<String> {
    let mut bytes = [0; N];
    RustCrypto.random(&mut bytes)?;
    Ok(hex(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_only_with_the_same_key_label_and_context() {
        let (key, other) = (SecretBytes::from([1; 32]), SecretBytes::from([2; 32]));
        let sealed = seal(&key, "a", b"aad", b"text").unwrap();
        assert_eq!(open(&key, "a", b"aad", &sealed).unwrap().as_bytes(), b"text");
        for wrong in
            [open(&other, "a", b"aad", &sealed), open(&key, "b", b"aad", &sealed), open(&key, "a", b"aae", &sealed)]
        {
            assert!(matches!(wrong, Err(Error::Integrity)));
        }
        for cut in 0..sealed.len() {
            assert!(open(&key, "a", b"aad", &sealed[..cut]).is_err());
        }
    }

    #[test]
    fn no_two_texts_share_a_salt() {
        let key = SecretBytes::from([1; 32]);
        let (one, two) = (seal(&key, "a", b"", b"text").unwrap(), seal(&key, "a", b"", b"text").unwrap());
        assert_ne!(one[..SALT_LENGTH], two[..SALT_LENGTH]);
        assert_ne!(one[SALT_LENGTH..], two[SALT_LENGTH..]);
    }

    #[test]
    fn a_tag_depends_on_key_label_and_bytes() {
        let key = SecretBytes::from([1; 32]);
        let this = tag(&key, "a", b"bytes").unwrap();
        assert!(this.ct_eq(tag(&key, "a", b"bytes").unwrap().as_bytes()));
        for other in
            [tag(&key, "b", b"bytes"), tag(&key, "a", b"byteS"), tag(&SecretBytes::from([2; 32]), "a", b"bytes")]
        {
            assert!(!this.ct_eq(other.unwrap().as_bytes()));
        }
    }
}
