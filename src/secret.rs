//! Key material that leaves no copy behind.

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Secret bytes: a data key, a wrapping key, the private half of a signing key.
///
/// The bytes live on the heap, are overwritten when the value is dropped, and never move while it is passed around.
/// There is no `Debug`, no `Clone` and no `PartialEq`: a secret is not printed, not copied by accident, and compared
/// only in constant time with [`ct_eq`](Self::ct_eq).
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
    /// As many zero bytes, to be filled in place through [`as_mut`](Self::as_mut).
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

    /// The secret itself.
    ///
    /// ```
    /// assert_eq!(sealwax::SecretBytes::from(vec![1, 2]).as_bytes(), [1, 2]);
    /// ```
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The secret itself, to be written in place.
    ///
    /// ```
    /// let mut secret = sealwax::SecretBytes::from(vec![1, 2]);
    /// secret.as_mut()[0] = 3;
    /// assert_eq!(secret.as_bytes(), [3, 2]);
    /// ```
    #[allow(clippy::should_implement_trait, reason = "`AsMut` would be found by generic code that logs or copies")]
    pub fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// How many bytes there are.
    ///
    /// ```
    /// assert_eq!(sealwax::SecretBytes::zeroed(24).len(), 24);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes at all.
    ///
    /// ```
    /// assert!(!sealwax::SecretBytes::zeroed(1).is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Another copy, for what is handed out several times.
    pub(crate) fn duplicate(&self) -> Self {
        Self::from(self.as_bytes())
    }

    /// Whether the secret equals `other`, in a time that depends on the lengths alone.
    ///
    /// ```
    /// assert!(sealwax::SecretBytes::from(vec![1]).ct_eq(&[1]));
    /// ```
    #[must_use]
    pub fn ct_eq(&self, other: &[u8]) -> bool {
        self.as_bytes().ct_eq(other).into()
    }
}

impl From<Vec<u8>> for SecretBytes {
    /// Takes the bytes over without a copy where the vector is exactly full; otherwise the old allocation is cleared.
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
