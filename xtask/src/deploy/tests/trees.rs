//! A card gets what a running device gets.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use metalens_firmware_config::{UNIT, UNIT_NAME};

use super::fake::Fake;
use super::parts::Source;
use super::releases::deploy;
use crate::deploy::layout;
use crate::deploy::release::sha256;
use crate::deploy::root::Root;

fn tree(root: &Path, folder: &Path) -> BTreeMap<String, String> {
    let mut nodes = BTreeMap::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        let node = if metadata.is_symlink() {
            format!("link to {}", path.read_link().unwrap().display())
        } else if metadata.is_dir() {
            nodes.extend(tree(root, &path));
            "folder".into()
        } else {
            format!("{:o} {}", metadata.permissions().mode() & 0o777, sha256(&std::fs::read(&path).unwrap()))
        };
        nodes.insert(format!("/{}", path.strip_prefix(root).unwrap().display()), node);
    }
    nodes
}

#[test]
fn the_unit_starts_guard_and_program_where_a_deploy_puts_them_and_is_wanted_where_it_links_it() {
    let line = |line: &str| assert!(UNIT.lines().any(|other| other == line), "{line}");
    line(&format!("ExecStartPre=+{}", layout::GUARD));
    line(&format!("ExecStart={}/metalens run --config {}", layout::CURRENT, layout::CONFIG));
    line("WantedBy=multi-user.target");
    assert!(layout::WANTED.ends_with(&format!("/multi-user.target.wants/{UNIT_NAME}")));
    assert!(layout::UNIT.ends_with(&format!("/{UNIT_NAME}")));
    assert_eq!(
        layout::STATE.rsplit('/').next(),
        UNIT.lines().find_map(|line| line.strip_prefix("StateDirectory="))
    );
}

#[test]
fn a_card_and_a_running_device_get_the_same_files_byte_for_byte_also_after_an_upgrade() {
    let folder = tempfile::tempdir().unwrap();
    for path in ["opt", "etc/systemd/system", "etc/udev/rules.d", "var/lib"] {
        std::fs::create_dir_all(folder.path().join(path)).unwrap();
    }
    let (card, device) = (Root::at(folder.path()).unwrap(), Fake::new());
    for release in [Source::new("").release(), Source::new("again").release()] {
        let outcome = deploy(&card, &release).unwrap();
        assert_eq!((outcome.files, outcome.bytes, outcome.restarted), {
            let outcome = deploy(&device, &release).unwrap();
            (outcome.files, outcome.bytes, false)
        });
        assert_eq!(tree(folder.path(), folder.path()), device.tree());
        assert_eq!(deploy(&card, &release).unwrap().files, 0);
    }
}
