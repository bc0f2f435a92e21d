//! The file system of a test's device: what is there, and what of it would survive a power cut.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::deploy::device::Mode;
use crate::deploy::files::split;

/// What has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// With the time at which it was made.
    Folder(usize),
    /// The number of its content: two names may have one.
    File(usize),
    Link(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inode {
    pub data: Rc<[u8]>,
    pub mode: Mode,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    pub names: BTreeMap<String, Node>,
    pub inodes: BTreeMap<usize, Inode>,
    next: usize,
}

/// The system's own words.
pub type Problem = &'static str;
const NO_FOLDER: Problem = "No such file or directory";

impl Disk {
    fn number(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    fn needs_folder(&self, path: &str) -> Result<(), Problem> {
        let folder = split(path).0;
        match self.names.get(folder) {
            Some(Node::Folder(_)) => Ok(()),
            None if folder.is_empty() => Ok(()),
            _ => Err(NO_FOLDER),
        }
    }

    pub fn below(&self, folder: &str) -> Vec<String> {
        let prefix = format!("{folder}/");
        self.names.keys().filter(|path| path.starts_with(&prefix)).cloned().collect()
    }

    pub fn file(&self, path: &str) -> Option<&Inode> {
        match self.names.get(path)? {
            Node::File(number) => self.inodes.get(number),
            _ => None,
        }
    }

    pub fn create_folder(&mut self, path: &str) -> Result<(), Problem> {
        match self.names.get(path) {
            Some(Node::Folder(_)) => return Ok(()),
            Some(_) => return Err("File exists"),
            None => {}
        }
        let above = split(path).0.to_owned();
        if !above.is_empty() {
            self.create_folder(&above)?;
        }
        let time = self.number();
        self.names.insert(path.to_owned(), Node::Folder(time));
        Ok(())
    }

    /// As the system does it: a file that is there is changed under all its names.
    pub fn write(&mut self, path: &str, data: &[u8], mode: Mode) -> Result<(), Problem> {
        self.needs_folder(path)?;
        let number = match self.names.get(path) {
            Some(Node::File(number)) => *number,
            Some(_) => return Err("Is a directory"),
            None => self.number(),
        };
        self.inodes.insert(number, Inode { data: data.into(), mode });
        self.names.insert(path.to_owned(), Node::File(number));
        Ok(())
    }

    pub fn hard_link(&mut self, from: &str, to: &str) -> Result<(), Problem> {
        self.needs_folder(to)?;
        let Some(node @ Node::File(_)) = self.names.get(from).cloned() else { return Err(NO_FOLDER) };
        self.names.insert(to.to_owned(), node);
        Ok(())
    }

    pub fn symlink(&mut self, target: &str, path: &str) -> Result<(), Problem> {
        self.needs_folder(path)?;
        self.names.insert(path.to_owned(), Node::Link(target.to_owned()));
        Ok(())
    }

    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), Problem> {
        self.needs_folder(to)?;
        let node = self.names.get(from).cloned().ok_or(NO_FOLDER)?;
        if matches!(self.names.get(to), Some(Node::Folder(_))) && !self.below(to).is_empty() {
            return Err("Directory not empty");
        }
        for path in self.below(from) {
            if let Some(node) = self.names.remove(&path) {
                self.names.insert(format!("{to}{}", &path[from.len()..]), node);
            }
        }
        self.names.remove(from);
        self.names.insert(to.to_owned(), node);
        Ok(())
    }

    pub fn remove(&mut self, path: &str) {
        for path in self.below(path) {
            self.names.remove(&path);
        }
        self.names.remove(path);
    }

    /// Only a half of what was written since `durable` is left in the files.
    pub fn halve(&mut self, durable: &Self) {
        for (number, inode) in &mut self.inodes {
            if durable.inodes.get(number) != Some(inode) {
                inode.data = inode.data[..inode.data.len() / 2].into();
            }
        }
    }
}
