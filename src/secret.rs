//! Memory for secrets that is overwritten when it is dropped.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Secret bytes, such as a data key, a wrapping key or the private half of a signing key.
///
/// The bytes are stored on the heap, so that moving the value does not copy them, and they are
/// overwritten when the value is dropped. The type implements none of `Debug`, `Clone` and
/// `PartialEq`, so that a secret cannot be printed or copied by accident, and can be compared only
/// in constant time, with [`ct_eq`](Self::ct_eq).
///
/// ```
/// use sealwax::SecretBytes;
///
/// let key = SecretBytes::from(vec![7; 32]);
/// assert_eq!(key.len(), 32);
/// assert!(key.ct_eq(&[7; 32]));
/// assert!(!key.ct_eq(&[8; 32]));
/// ```
pub struct SecretBytes(Zeroizing<Box<[u8]>>);

impl SecretBytes {
    /// Creates a secret of `length` zero bytes, to be filled in place through
    /// [`as_mut`](Self::as_mut).
    ///
    /// ```
    /// let mut key = sealwax::SecretBytes::zeroed(16);
    /// key.as_mut().fill(1);
    /// assert_eq!(key.as_bytes(), [1; 16]);
    /// ```
    #[must_use]
    pub fn zeroed(length: usize) -> Self {
        Self(Zeroizing::new(vec![0; length].into_boxed_slice()))
    }

    /// Returns the secret bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the secret bytes for writing in place.
    #[allow(clippy::should_implement_trait, reason = "an `AsMut` impl would give generic code access to the secret")]
    pub fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Returns the number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns `true` if the secret has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Copies the secret. `Clone` is not implemented, so that every copy is explicit.
    pub(crate) fn duplicate(&self) -> Self {
        Self::from(self.as_bytes())
    }

    /// Returns `true` if the secret equals `other`. The comparison takes constant time: it depends
    /// only on the lengths.
    #[must_use]
    pub fn ct_eq(&self, other: &[u8]) -> bool {
        self.as_bytes().ct_eq(other).into()
    }
}

impl From<Vec<u8>> for SecretBytes {
    /// Takes ownership of the bytes without copying them if the vector has no spare capacity.
    /// Otherwise copies them and overwrites the old allocation.
    fn from(bytes: Vec<u8>) -> Self {
        let mut bytes = Zeroizing::new(bytes);
        if bytes.len() == bytes.capacity() {
            return Self(Zeroizing::new(std::mem::take(&mut *bytes).into_boxed_slice()));
        }
        Self::from(bytes.as_slice())
    }
}

impl From<&[u8]> for SecretBytes {
    fn from(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }
}

impl<const N: usize> From<[u8; N]> for SecretBytes {
    fn from(bytes: [u8; N]) -> Self {
        Self::from(Zeroizing::new(bytes).as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_with_spare_capacity_is_taken_whole() {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(&[5; 32]);
        assert_eq!(SecretBytes::from(bytes).as_bytes(), [5; 32]);
    }

    #[test]
    fn comparison_looks_at_length_and_content() {
        let secret = SecretBytes::from([1, 2, 3]);
        assert!(secret.ct_eq(&[1, 2, 3]));
        assert!(!secret.ct_eq(&[1, 2]));
        assert!(!secret.ct_eq(&[1, 2, 4]));
    }
}
