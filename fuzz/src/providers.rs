//! The two crypto providers on the same bytes: they must give the same verdict and the same output.

use sealwax::{
    Client, CommitmentPolicy, Error,
    crypto::{AwsLcRs, CryptoProvider, Expand, HashAlgorithm, IV_LENGTH, RustCrypto, SignatureAlgorithm, TAG_LENGTH},
};

use crate::keyring::FixedKey;

/// The values of the first byte, modulo `KINDS`, which select what is done with the rest.
pub const MESSAGE: u8 = 0;
pub const SIGNATURE: u8 = 1;
pub const PRIMITIVES: u8 = 2;
const KINDS: u8 = 3;

const BOTH: [&dyn CryptoProvider; 2] = [&RustCrypto, &AwsLcRs];

/// Runs both providers on the same input. Returns whether a message or a signature was accepted, or
/// a ciphertext opened.
///
/// # Panics
/// If their outcomes differ.
pub fn run(input: &[u8]) -> Option<bool> {
    let (kind, rest) = input.split_first()?;
    match kind % KINDS {
        MESSAGE => Some(message(rest)),
        SIGNATURE => signature(rest),
        _ => primitives(rest),
    }
}

/// A message under the known data key.
fn message(message: &[u8]) -> bool {
    let policy = CommitmentPolicy::RequireEncryptAllowDecrypt;
    let clients = [Client::builder_with_provider(RustCrypto), Client::builder_with_provider(AwsLcRs)];
    let [one, other] = clients.map(|client| {
        let opened = client.commitment_policy(policy).build().decrypt(&FixedKey).bytes(message).wait();
        opened.map(|opened| opened.plaintext).map_err(|error| format!("{error:?}"))
    });
    assert!(one == other, "{:?} is not {:?}", one.map(|text| text.len()), other.map(|text| text.len()));
    one.is_ok()
}

/// The input is the curve (one byte), the compressed key, what is hashed (one byte), and the
/// signature.
fn signature(input: &[u8]) -> Option<bool> {
    let (curve, rest) = input.split_first()?;
    let algorithm = if curve % 2 == 0 { SignatureAlgorithm::EcdsaP256 } else { SignatureAlgorithm::EcdsaP384 };
    let (public_key, rest) = rest.split_at_checked(algorithm.public_key_length())?;
    let (hashed, signature) = rest.split_first()?;
    let [one, other] = BOTH.map(|provider| {
        let mut digest = provider.digest(algorithm.hash());
        digest.update(&[*hashed]);
        let key = provider.verifying_key(algorithm, public_key);
        let verified = key.and_then(|key| key.verify_digest(&digest.finish(), signature));
        assert!(matches!(verified, Ok(()) | Err(Error::Integrity)), "{verified:?}");
        verified.is_ok()
    });
    assert_eq!(one, other);
    Some(one)
}

/// The input is the lengths of an AES key and of the AAD (one byte each), key, IV, tag, AAD, and
/// the text. They are passed to HKDF as well.
fn primitives(input: &[u8]) -> Option<bool> {
    let (&[key_length, aad_length], rest) = input.split_first_chunk()?;
    let (key, rest) = rest.split_at_checked([16, 24, 32][usize::from(key_length % 3)])?;
    let (iv, rest) = rest.split_first_chunk::<IV_LENGTH>()?;
    let (tag, rest) = rest.split_first_chunk::<TAG_LENGTH>()?;
    let (aad, text) = rest.split_at_checked(aad_length.into())?;
    let [one, other] = BOTH.map(|provider| {
        let aead = provider.aes_gcm(key).unwrap();
        let (mut sealed, mut in_place, mut opened) = (vec![0; text.len()], text.to_vec(), vec![0; text.len()]);
        let new_tag = aead.seal(iv, aad, text, &mut sealed).unwrap();
        assert_eq!(aead.seal_in_place(iv, aad, &mut in_place).unwrap(), new_tag);
        assert!(in_place == sealed);
        aead.open(iv, aad, &sealed, &new_tag, &mut opened).unwrap();
        assert!(opened == text);
        // The output is unspecified if the tag does not verify.
        let verified = aead.open(iv, aad, text, tag, &mut opened).is_ok();
        assert_eq!(aead.open_in_place(iv, aad, &mut text.to_vec(), tag).is_ok(), verified);

        let mut derived = [[0; 32]; 6];
        for (hash, [first, second]) in [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512]
            .into_iter()
            .zip(derived.as_chunks_mut().0)
        {
            let outputs = [Expand { info: [iv, text], out: first }, Expand { info: [b"", b""], out: second }];
            provider.hkdf(hash, aad, key, &mut { outputs }).unwrap();
        }
        (sealed, new_tag, verified.then_some(opened), derived)
    });
    assert!(one == other, "the primitives give different bytes");
    Some(one.2.is_some())
}
