//! Encryption, data keys, message authentication codes and random bytes.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use sealwax::{
    EncryptionContext, SecretBytes,
    crypto::{CryptoProvider as _, RustCrypto},
};
use serde_json::{Value, json};

use super::call::{Call, Facts};
use crate::{
    seal::{hex, joined, open, seal},
    server::{
        error::{ApiError, Result},
        params::Params,
        record::{Key, KeyName, Spec},
    },
};

const LABEL: &str = "endpoint ciphertext";
const VERSION: u8 = 2;
const MATERIAL_ID: usize = 32;
const MOST_PLAINTEXT: usize = 4096;
const MOST_CIPHERTEXT: usize = 6144;
const ALGORITHMS: &[&str] = &["SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SM2PKE"];
const SYMMETRIC: &str = "SYMMETRIC_DEFAULT";

type Pairs = BTreeMap<String, String>;

/// Returns what is authenticated with a ciphertext. The Region is no part of it.
fn aad(key: &KeyName, material: &str, context: &Pairs) -> Result<Vec<u8>> {
    let context: EncryptionContext =
        context.iter().map(|(key, value)| (key.clone(), value.clone())).collect::<EncryptionContext>();
    let context = context.serialize().map_err(|error| ApiError::validation(error.to_string()))?;
    Ok(joined(&[key.account.as_bytes(), key.id.as_bytes(), material.as_bytes(), &context]))
}

/// Encrypts under the current material of a key. The ciphertext starts with the account and the id
/// of the key, each with its length, and the id of the material.
fn encrypt_under(call: &Call<'_>, key: &Key, context: &Pairs, plaintext: &SecretBytes) -> Result<Vec<u8>> {
    let current = key.material.last().ok_or_else(|| ApiError::internal("the key has no material"))?;
    let material = call.snapshot.bytes(&key.name.material(&current.id))?;
    let material = material.ok_or_else(|| ApiError::internal("the material of the key is missing"))?;
    let sealed = seal(&material, LABEL, &aad(&key.name, &current.id, context)?, plaintext.as_bytes())?;
    let (account, id) = (key.name.account.as_bytes(), key.name.id.as_bytes());
    let lengths = [account.len(), id.len()].map(|length| u8::try_from(length).unwrap_or(u8::MAX));
    let material_id: Vec<_> =
        (0..MATERIAL_ID).filter_map(|at| u8::from_str_radix(current.id.get(2 * at..2 * at + 2)?, 16).ok()).collect();
    Ok([&[VERSION, lengths[0], lengths[1]][..], account, id, &material_id, &sealed].concat())
}

/// The parts of a ciphertext.
struct Blob<'a> {
    account: &'a str,
    key_id: &'a str,
    material: String,
    sealed: &'a [u8],
}

fn parse(ciphertext: &[u8]) -> Option<Blob<'_>> {
    let ([VERSION, account, id], rest) = ciphertext.split_first_chunk::<3>()? else { return None };
    let (account, rest) = rest.split_at_checked(usize::from(*account))?;
    let (key_id, rest) = rest.split_at_checked(usize::from(*id))?;
    let (material, sealed) = rest.split_first_chunk::<MATERIAL_ID>()?;
    let (account, key_id) = (str::from_utf8(account).ok()?, str::from_utf8(key_id).ok()?);
    Some(Blob { account, key_id, material: hex(material), sealed })
}

fn invalid_ciphertext() -> ApiError {
    ApiError::bare("InvalidCiphertextException")
}

/// Finds the key of a ciphertext, which a request may name too, and decrypts after authorization.
/// Returns the key, the id of the material and the plaintext.
fn decrypt_with(
    call: &mut Call<'_>,
    action: &str,
    named: Option<&str>,
    ciphertext: &SecretBytes,
    facts: Facts,
) -> Result<(Key, String, SecretBytes)> {
    let pairs = facts.pairs.clone();
    let named = named.map(|name| call.key_or_alias(name)).transpose()?;
    let ignores_ciphertext = call
        .members
        .get("DryRunModifiers")
        .and_then(Value::as_array)
        .is_some_and(|modifiers| modifiers.iter().any(|modifier| modifier == "IGNORE_CIPHERTEXT"));
    let blob = parse(ciphertext.as_bytes());
    let key = match (named, &blob) {
        (Some(key), _) => key,
        (None, Some(blob)) => {
            let (account, id, region) = (blob.account.into(), blob.key_id.into(), call.region.into());
            call.named(KeyName { account, region, id }).map_err(|_| {
                ApiError::new(
                    "AccessDeniedException",
                    "The ciphertext refers to a customer master key that does not exist, does not exist in this region, \
                     or you are not allowed to access.",
                )
            })?
        }
        (None, None) => return Err(invalid_ciphertext()),
    };
    call.authorize(action, &key, facts)?;
    key.usable()?;
    let incorrect = || {
        let why = "The key ID in the request does not identify a CMK that can perform this operation.";
        ApiError::new("IncorrectKeyException", why)
    };
    if key.spec != Spec::Symmetric {
        return Err(incorrect());
    }
    if ignores_ciphertext {
        call.stop_if_dry()?;
    }
    let blob = blob.ok_or_else(invalid_ciphertext)?;
    if (blob.account, blob.key_id) != (key.name.account.as_str(), key.name.id.as_str()) {
        return Err(incorrect());
    }
    let known = key.material.iter().any(|material| material.id == blob.material);
    let material = if known { call.snapshot.bytes(&key.name.material(&blob.material))? } else { None };
    let material = material.ok_or_else(invalid_ciphertext)?;
    let opened = open(&material, LABEL, &aad(&key.name, &blob.material, &pairs)?, blob.sealed);
    let plaintext = opened.map_err(|_| invalid_ciphertext())?;
    Ok((key, blob.material, plaintext))
}

/// Fails if the key cannot encrypt with this algorithm.
fn can_encrypt(key: &Key, operation: &str, algorithm: &str) -> Result<()> {
    if key.spec != Spec::Symmetric {
        let (arn, usage) = (key.name.arn(), key.spec.usage());
        let why = format!("{arn} key usage is {usage} which is not valid for {operation}.");
        return Err(ApiError::new("InvalidKeyUsageException", why));
    }
    if algorithm != SYMMETRIC {
        let why = format!("Algorithm {algorithm} is incompatible with key spec {}.", key.spec.name());
        return Err(ApiError::new("InvalidKeyUsageException", why));
    }
    Ok(())
}

fn base64(bytes: &[u8]) -> Value {
    BASE64_STANDARD.encode(bytes).into()
}

fn facts_of(pairs: &Pairs, algorithm: &str) -> Facts {
    Facts::of(pairs).with("kms:EncryptionAlgorithm", algorithm)
}

pub(super) fn encrypt(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let name = params.key_id();
    let plaintext = params.blob("Plaintext", 1, MOST_PLAINTEXT);
    let context = params.pairs("EncryptionContext");
    let algorithm = params.one_of("EncryptionAlgorithm", ALGORITHMS).unwrap_or(SYMMETRIC);
    params.check()?;
    let key = call.key_or_alias(name)?;
    call.authorize("kms:Encrypt", &key, facts_of(&context, algorithm))?;
    key.usable()?;
    can_encrypt(&key, "Encrypt", algorithm)?;
    let ciphertext = encrypt_under(call, &key, &context, &plaintext)?;
    call.stop_if_dry()?;
    Ok(json!({ "KeyId": key.name.arn(), "CiphertextBlob": base64(&ciphertext), "EncryptionAlgorithm": SYMMETRIC }))
}

/// Reads the ciphertext, which a dry run that ignores it may leave out.
fn ciphertext_of(params: &mut Params<'_>) -> SecretBytes {
    if !params.has("CiphertextBlob") && params.has("DryRunModifiers") {
        return SecretBytes::from(Vec::new());
    }
    params.blob("CiphertextBlob", 1, MOST_CIPHERTEXT)
}

pub(super) fn decrypt(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let name = params.text("KeyId", 1, 2048);
    let ciphertext = ciphertext_of(&mut params);
    let context = params.pairs("EncryptionContext");
    let algorithm = params.one_of("EncryptionAlgorithm", ALGORITHMS).unwrap_or(SYMMETRIC);
    params.check()?;
    let (key, material, plaintext) =
        decrypt_with(call, "kms:Decrypt", name, &ciphertext, facts_of(&context, algorithm))?;
    if algorithm != SYMMETRIC {
        can_encrypt(&key, "Decrypt", algorithm)?;
    }
    call.stop_if_dry()?;
    Ok(json!({
        "KeyId": key.name.arn(),
        "Plaintext": base64(plaintext.as_bytes()),
        "EncryptionAlgorithm": SYMMETRIC,
        "KeyMaterialId": material,
    }))
}

pub(super) fn re_encrypt(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let (source, destination) = (params.text("SourceKeyId", 1, 2048), params.required("DestinationKeyId", 1, 2048));
    let ciphertext = ciphertext_of(&mut params);
    let (from, to) = (params.pairs("SourceEncryptionContext"), params.pairs("DestinationEncryptionContext"));
    let mut algorithm = |name| params.one_of(name, ALGORITHMS).unwrap_or(SYMMETRIC);
    let algorithms = (algorithm("SourceEncryptionAlgorithm"), algorithm("DestinationEncryptionAlgorithm"));
    params.check()?;
    let new = call.key_or_alias(destination)?;
    let is_same = parse(ciphertext.as_bytes())
        .is_some_and(|blob| (blob.account, blob.key_id) == (new.name.account.as_str(), new.name.id.as_str()));
    let facts =
        |pairs: &Pairs, algorithm| facts_of(pairs, algorithm).with("kms:ReEncryptOnSameKey", is_same.to_string());
    let (old, old_material, plaintext) =
        decrypt_with(call, "kms:ReEncryptFrom", source, &ciphertext, facts(&from, algorithms.0))?;
    call.authorize("kms:ReEncryptTo", &new, facts(&to, algorithms.1))?;
    new.usable()?;
    can_encrypt(&new, "ReEncrypt", algorithms.1)?;
    let ciphertext = encrypt_under(call, &new, &to, &plaintext)?;
    call.stop_if_dry()?;
    Ok(json!({
        "KeyId": new.name.arn(),
        "SourceKeyId": old.name.arn(),
        "CiphertextBlob": base64(&ciphertext),
        "SourceEncryptionAlgorithm": SYMMETRIC,
        "DestinationEncryptionAlgorithm": SYMMETRIC,
        "SourceKeyMaterialId": old_material,
        "DestinationKeyMaterialId": new.material.last().map(|material| &material.id),
    }))
}

fn data_key(call: &mut Call<'_>, operation: &str) -> Result<(Value, SecretBytes)> {
    let mut params = call.params();
    let name = params.key_id();
    let context = params.pairs("EncryptionContext");
    let spec = params.one_of("KeySpec", &["AES_256", "AES_128"]);
    let count = params.number("NumberOfBytes", 1, 1024);
    params.check()?;
    let length = match (spec, count) {
        (Some("AES_128"), None) => 16,
        (Some(_), None) => 32,
        (None, Some(count)) => count as usize,
        _ => return Err(ApiError::validation("Please specify either number of bytes or key spec.")),
    };
    let key = call.key_or_alias(name)?;
    call.authorize(&format!("kms:{operation}"), &key, facts_of(&context, SYMMETRIC))?;
    key.usable()?;
    can_encrypt(&key, operation, SYMMETRIC)?;
    let plaintext = RustCrypto.random_key(length)?;
    let ciphertext = encrypt_under(call, &key, &context, &plaintext)?;
    call.stop_if_dry()?;
    let answer = json!({
        "KeyId": key.name.arn(),
        "CiphertextBlob": base64(&ciphertext),
        "KeyMaterialId": key.material.last().map(|material| &material.id),
    });
    Ok((answer, plaintext))
}

pub(super) fn generate_data_key(call: &mut Call<'_>) -> Result<Value> {
    let (mut answer, plaintext) = data_key(call, "GenerateDataKey")?;
    answer["Plaintext"] = base64(plaintext.as_bytes());
    Ok(answer)
}

pub(super) fn generate_data_key_without_plaintext(call: &mut Call<'_>) -> Result<Value> {
    data_key(call, "GenerateDataKeyWithoutPlaintext").map(|(answer, _)| answer)
}

pub(super) fn generate_random(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let count = params.number("NumberOfBytes", 1, 1024);
    params.check()?;
    call.authorize_without_key("kms:GenerateRandom", None, Facts::default())?;
    let count = count.ok_or_else(|| ApiError::validation("NumberOfBytes is required."))?;
    Ok(json!({ "Plaintext": base64(RustCrypto.random_key(count as usize)?.as_bytes()) }))
}

const MACS: &[&str] = &["HMAC_SHA_384", "HMAC_SHA_256", "HMAC_SHA_224", "HMAC_SHA_512"];

/// Authorizes an operation on a MAC key, and returns the key, the HMAC key and the algorithm.
fn mac_key<'a>(
    call: &mut Call<'a>,
    operation: &str,
    params: &mut Params<'a>,
) -> Result<(Key, hmac::Key, &'static str)> {
    let name = params.key_id();
    let algorithm = params.one_of("MacAlgorithm", MACS);
    if algorithm.is_none() {
        params.required("MacAlgorithm", 0, usize::MAX);
    }
    params.check()?;
    let algorithm = algorithm.unwrap_or_default();
    let key = call.key_or_alias(name)?;
    call.authorize(&format!("kms:{operation}"), &key, Facts::default().with("kms:MacAlgorithm", algorithm))?;
    key.usable()?;
    if key.spec == Spec::Symmetric {
        let (arn, usage) = (key.name.arn(), key.spec.usage());
        let why = format!("{arn} key usage is {usage} which is not valid for {operation}.");
        return Err(ApiError::new("InvalidKeyUsageException", why));
    }
    if key.spec.algorithm().1 != algorithm {
        let why = format!("Algorithm {algorithm} is incompatible with key spec {}.", key.spec.name());
        return Err(ApiError::new("InvalidKeyUsageException", why));
    }
    let hash = match key.spec {
        Spec::Hmac224 => hmac::HMAC_SHA224,
        Spec::Hmac384 => hmac::HMAC_SHA384,
        Spec::Hmac512 => hmac::HMAC_SHA512,
        _ => hmac::HMAC_SHA256,
    };
    let id = key.material.last().map(|material| key.name.material(&material.id)).unwrap_or_default();
    let material = call.snapshot.bytes(&id)?.ok_or_else(|| ApiError::internal("the key has no material"))?;
    Ok((key, hmac::Key::new(hash, material.as_bytes()), algorithm))
}

pub(super) fn generate_mac(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let message = params.blob("Message", 1, MOST_PLAINTEXT);
    let (key, mac, algorithm) = mac_key(call, "GenerateMac", &mut params)?;
    call.stop_if_dry()?;
    let tag = hmac::sign(&mac, message.as_bytes());
    Ok(json!({ "KeyId": key.name.arn(), "MacAlgorithm": algorithm, "Mac": base64(tag.as_ref()) }))
}

pub(super) fn verify_mac(call: &mut Call<'_>) -> Result<Value> {
    let mut params = call.params();
    let (message, tag) = (params.blob("Message", 1, MOST_PLAINTEXT), params.blob("Mac", 1, 6144));
    let (key, mac, algorithm) = mac_key(call, "VerifyMac", &mut params)?;
    let verified = hmac::verify(&mac, message.as_bytes(), tag.as_bytes());
    verified.map_err(|_| ApiError::bare("KMSInvalidMacException"))?;
    call.stop_if_dry()?;
    Ok(json!({ "KeyId": key.name.arn(), "MacAlgorithm": algorithm, "MacValid": true }))
}
