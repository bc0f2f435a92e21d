//! Signatures of releases, in minisign's format: whoever has `minisign` checks them without us.

use std::io::Cursor;
use std::path::Path;

use anyhow::Context;
use minisign::{PublicKey, SecretKey, SecretKeyBox, SignatureBox};

/// The key that releases are signed with.
pub struct SigningKey(SecretKey);

impl SigningKey {
    /// Reads a key that `minisign -G` wrote; asks for its password where it has one.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let key = || SecretKeyBox::from_string(&text);
        let plain = key().and_then(SecretKeyBox::into_unencrypted_secret_key);
        let key = plain.or_else(|_| key()?.into_secret_key(None));
        let key = key.with_context(|| {
            format!("{}: no secret key in minisign's format; `minisign -G` makes one", path.display())
        })?;
        Ok(Self(key))
    }

    /// A new key, without a password.
    #[cfg(test)]
    pub fn generate() -> Self {
        Self(minisign::KeyPair::generate_unencrypted_keypair().expect("the system has randomness").sk)
    }

    /// The file of the signature of `data`, which says of itself that it belongs to `name`.
    pub fn sign(&self, data: &[u8], name: &str) -> anyhow::Result<String> {
        let comment = format!("metalens {name}");
        Ok(minisign::sign(None, &self.0, Cursor::new(data), Some(&comment), None)?.into_string())
    }

    /// The file of the public key that belongs to this one.
    pub fn public(&self) -> anyhow::Result<String> {
        Ok(PublicKey::from_secret_key(&self.0)?.to_box()?.into_string())
    }
}

/// Whether the signature of `data` in a file is one of the key in another file.
pub fn verify(key: &str, signature: &str, data: &[u8]) -> anyhow::Result<()> {
    let key = minisign::PublicKeyBox::from_string(key)?.into_public_key()?;
    let signature = SignatureBox::from_string(signature)?;
    Ok(minisign::verify(&key, &signature, Cursor::new(data), true, false, false)?)
}

/// The key itself in its file, without the comment.
pub fn key_line(file: &str) -> &str {
    file.lines().nth(1).unwrap_or_default().trim()
}
