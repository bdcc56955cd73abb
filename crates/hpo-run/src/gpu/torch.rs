//! Which PyTorch a trial's program will load. An allocator option that a version does not know makes it refuse
//! to start, so an option is set only where it is known to be understood.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

/// A version's first two numbers.
pub(super) type Version = (u32, u32);

/// The version of the PyTorch beside the program of a command line, or beside the first `python` in its
/// arguments or on the `PATH`; `None`: none is found. Nothing is run for it: the file that PyTorch itself reads
/// its version from is read.
pub(super) fn version(
    argv: &[OsString],
    path: Option<&OsStr>,
    directory: &Path,
) -> Option<Version> {
    let is_python = |word: &&OsString| {
        let name = Path::new(word).file_name().unwrap_or_default();
        name.to_string_lossy().starts_with("python")
    };
    let python = OsString::from("python");
    let python3 = OsString::from("python3");
    let named = argv.iter().filter(is_python);
    let programs = named.chain(argv.first()).chain([&python, &python3]);
    programs
        .filter_map(|program| resolve(program, path, directory))
        .find_map(|program| beside(&program))
}

/// Where a program is. Links are not followed yet: a virtual environment's `python` is one.
fn resolve(program: &OsStr, path: Option<&OsStr>, directory: &Path) -> Option<PathBuf> {
    let name = Path::new(program);
    if name.components().count() > 1 {
        let found = directory.join(name);
        return found.is_file().then_some(found);
    }
    let places = std::env::split_paths(path?);
    places.map(|place| place.join(name)).find(|p| p.is_file())
}

/// The PyTorch of the environment that a program belongs to: `bin/program`, `lib/python3.*/site-packages/torch`.
fn beside(program: &Path) -> Option<Version> {
    let real = fs::canonicalize(program).ok();
    let prefixes = [Some(program), real.as_deref()];
    let prefixes = prefixes.into_iter().flatten();
    prefixes
        .filter_map(|program| program.parent()?.parent())
        .find_map(in_environment)
}

fn in_environment(prefix: &Path) -> Option<Version> {
    let pythons = fs::read_dir(prefix.join("lib")).ok()?.flatten();
    let pythons = pythons.map(|entry| entry.path());
    let packages =
        pythons.flat_map(|python| ["site-packages", "dist-packages"].map(|p| python.join(p)));
    packages
        .map(|packages| packages.join("torch/version.py"))
        .find_map(|file| parse(&fs::read_to_string(file).ok()?))
}

/// `__version__ = '2.15.0+cu132'`
fn parse(text: &str) -> Option<Version> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("__version__"))?;
    let version = line.trim_start_matches([' ', '=', '\'', '"']);
    let mut numbers = version.split(['.', '+', 'a', 'r', '\'', '"']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_and_nothing_is_run() {
        let venv = tempfile::tempdir().unwrap();
        let packages = venv.path().join("lib/python3.13/site-packages/torch");
        fs::create_dir_all(&packages).unwrap();
        fs::create_dir_all(venv.path().join("bin")).unwrap();
        fs::write(
            packages.join("version.py"),
            "x = 1\n__version__ = '2.15.0+cu132'\n",
        )
        .unwrap();
        fs::write(venv.path().join("bin/torchrun"), "").unwrap();
        fs::write(venv.path().join("bin/python"), "").unwrap();
        let bin = venv.path().join("bin");
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let nowhere = Path::new("/");
        let path = Some(bin.as_os_str());
        assert_eq!(
            version(&words(&["torchrun", "train.py"]), path, nowhere),
            Some((2, 15))
        );
        assert_eq!(
            version(&words(&["env", "python", "train.py"]), path, nowhere),
            Some((2, 15))
        );
        assert_eq!(
            version(&words(&["bin/python", "x"]), None, venv.path()),
            Some((2, 15))
        );
        assert_eq!(
            version(
                &words(&["sh", "train.sh"]),
                Some(OsStr::new("/nowhere")),
                nowhere
            ),
            None
        );
        assert_eq!(parse("__version__ = '2.9.0a0+git123'"), Some((2, 9)));
        assert_eq!(parse("version = 2"), None);
    }
}
