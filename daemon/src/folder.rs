//! Folders of the daemon's own, and names that outlive a power cut: a name is on the disk once the folder that holds
//! it was synced.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Makes a folder, and those it lies in, for this user alone; one that is there stays as it is.
pub(crate) fn make(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = holder(path);
    make(parent)?;
    match DirBuilder::new().mode(0o700).create(path) {
        // Somebody was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made.and_then(|()| sync(parent)),
    }
}

/// Waits until the names in a folder, as they stand, are on the disk.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The folder that a name stands in.
pub(crate) fn holder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => Path::new("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn folders_are_made_for_one_user_and_left_alone_when_there() {
        let place = tempfile::tempdir().unwrap();
        let inner = place.path().join("a/b");
        make(&inner).unwrap();
        make(&inner).unwrap();
        for folder in [&inner, inner.parent().unwrap()] {
            assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
        }
        std::fs::write(inner.join("file"), "").unwrap();
        assert!(make(&inner.join("file")).is_err());
        assert!(make(&inner.join("file/below")).is_err());
        assert_eq!(
            [holder(Path::new("a")), holder(Path::new("a/b")), holder(Path::new("/"))],
            [".", "a", "/"].map(Path::new)
        );
    }
}
