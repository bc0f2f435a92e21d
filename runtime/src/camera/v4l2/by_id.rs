//! A camera's name that stays when it is plugged in again: udev's link to its device.

use std::path::{Path, PathBuf};

/// Where udev keeps the links.
pub(super) const FOLDER: &str = "/dev/v4l/by-id";

/// The link in `folder` that leads to `device`, itself perhaps a link; the first by name, should there be more.
pub(super) fn link_to(device: &Path, folder: &Path) -> Option<PathBuf> {
    let device = device.canonicalize().ok()?;
    let links = folder.read_dir().ok()?.filter_map(Result::ok).map(|entry| entry.path());
    links.filter(|link| link.canonicalize().is_ok_and(|target| target == device)).min()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_device_is_found_by_the_link_that_leads_to_it() {
        let dev = tempfile::tempdir().unwrap();
        let folder = dev.path().join("by-id");
        std::fs::create_dir(&folder).unwrap();
        for (link, device) in [("usb-A-index0", "video0"), ("usb-B-index0", "video2")] {
            std::fs::write(dev.path().join(device), "").unwrap();
            symlink(Path::new("..").join(device), folder.join(link)).unwrap();
        }
        symlink("../video4", folder.join("usb-0-index0")).unwrap();
        let link = folder.join("usb-B-index0");
        assert_eq!(link_to(&dev.path().join("video2"), &folder), Some(link.clone()));
        assert_eq!(link_to(&link, &folder), Some(link.clone()), "a link leads to itself");

        // Plugged in again, the camera has another device, and its link leads there.
        std::fs::remove_file(dev.path().join("video2")).unwrap();
        assert_eq!(link_to(&dev.path().join("video2"), &folder), None);
        std::fs::write(dev.path().join("video3"), "").unwrap();
        std::fs::remove_file(&link).unwrap();
        symlink("../video3", &link).unwrap();
        assert_eq!(link_to(&dev.path().join("video3"), &folder), Some(link));
    }

    #[test]
    fn without_udev_there_is_no_link() {
        let dev = tempfile::tempdir().unwrap();
        std::fs::write(dev.path().join("video0"), "").unwrap();
        assert_eq!(link_to(&dev.path().join("video0"), &dev.path().join("by-id")), None);
    }
}
