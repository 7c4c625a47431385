//! Key pairs for the fake service, which computes with the real private keys.
#![allow(dead_code, reason = "each feature needs a part")]

use std::sync::Arc;

use sealwax::{
    SecretBytes,
    keyring::{KmsAlgorithm, KmsErrorKind},
};

use crate::{
    fake_kms::Material,
    support::{self},
};

/// Returns the content of a PEM text.
pub(crate) fn der(pem: &str) -> Vec<u8> {
    let lines: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    support::from_base64(&lines)
}

/// Returns an RSA key pair, from PKCS#8 and SubjectPublicKeyInfo in PEM.
pub(crate) fn rsa(private: &str, public: &str) -> Arc<Material> {
    let private = der(private);
    let decrypt = move |algorithm, ciphertext: &[u8]| rsa_decrypt(&private, algorithm, ciphertext);
    Arc::new(Material::Rsa { public: der(public), decrypt: Box::new(decrypt) })
}

/// Returns a key pair on any curve, from PKCS#8 in PEM and SubjectPublicKeyInfo in DER.
pub(crate) fn ecdh(private: &str, public: Vec<u8>) -> Arc<Material> {
    let private = private.to_owned();
    Arc::new(Material::Ecdh { public, agree: Box::new(move |public| agree(&private, public)) })
}

fn rsa_decrypt(private: &[u8], algorithm: KmsAlgorithm, ciphertext: &[u8]) -> Result<SecretBytes, KmsErrorKind> {
    use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};

    let key = OaepPrivateDecryptingKey::new(PrivateDecryptingKey::from_pkcs8(private).unwrap()).unwrap();
    let padding = match algorithm {
        KmsAlgorithm::RsaOaepSha1 => &OAEP_SHA1_MGF1SHA1,
        KmsAlgorithm::RsaOaepSha256 => &OAEP_SHA256_MGF1SHA256,
        _ => return Err(KmsErrorKind::InvalidRequest),
    };
    let mut buffer = vec![0; key.min_output_size()];
    let plaintext = key.decrypt(padding, ciphertext, &mut buffer, None);
    Ok(SecretBytes::from(&*plaintext.map_err(|_| KmsErrorKind::InvalidCiphertext)?))
}

/// Returns the shared secret, or `None` if the public key is not on the curve of the private one.
fn agree(private: &str, public: &[u8]) -> Option<SecretBytes> {
    macro_rules! on {
        ($curve:ident) => {{
            use $curve::pkcs8::{DecodePrivateKey, DecodePublicKey};
            if let Ok(private) = $curve::SecretKey::from_pkcs8_pem(private) {
                let public = $curve::PublicKey::from_public_key_der(public).ok()?;
                let secret = $curve::ecdh::diffie_hellman(private.to_nonzero_scalar(), public.as_affine());
                return Some(SecretBytes::from(secret.raw_secret_bytes().as_slice()));
            }
        }};
    }
    on!(p256);
    on!(p384);
    on!(p521);
    panic!("the fake knows no such curve")
}
