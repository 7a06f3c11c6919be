//! The bearer token of the TCP listener: 32 random bytes in a file that only its owner can read.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

const BYTES: usize = 32;

/// A token. It has no `Display`, and its `Debug` keeps it to itself.
pub(crate) struct Token(Vec<u8>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// Reads the token of `path`; makes one if there is none.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(mut file) => {
                let mut random = [0; BYTES];
                File::open("/dev/urandom")?.read_exact(&mut random)?;
                let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
                file.write_all(format!("{hex}\n").as_bytes())?;
                file.sync_all()?;
                Ok(Self(hex.into_bytes()))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::read(path),
            Err(error) => Err(error),
        }
    }

    fn read(path: &Path) -> io::Result<Self> {
        let mut text = String::new();
        let mut file = File::open(path)?;
        if file.metadata()?.mode() & 0o077 != 0 {
            return Err(io::Error::other(
                "others can read it; make it yours alone with `chmod 600`, or remove it to get a new one",
            ));
        }
        file.read_to_string(&mut text)?;
        let text = text.trim();
        if text.len() < 2 * BYTES {
            return Err(io::Error::other("it holds no token of 64 characters or more; remove it to get a new one"));
        }
        Ok(Self(text.as_bytes().to_vec()))
    }

    /// Whether `shown` is the token, in a time that does not depend on where they differ.
    pub(crate) fn is(&self, shown: &[u8]) -> bool {
        let differ = std::iter::zip(&self.0, shown).fold(0, |differ, (ours, theirs)| differ | (ours ^ theirs));
        shown.len() == self.0.len() && std::hint::black_box(differ) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn made_once_kept_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let token = Token::of(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.trim();
        assert_eq!(text.len(), 64);
        let again = Token::of(&path).unwrap();
        assert!(token.is(text.as_bytes()) && again.is(text.as_bytes()));
        assert!(!token.is(b"") && !token.is(&text.as_bytes()[1..]) && !token.is(format!("{text}0").as_bytes()));
        assert!(!format!("{token:?}").contains(text));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Token::of(&path).is_err());
    }
}
