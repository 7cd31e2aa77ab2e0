//! `mrvpn man DIR`: a manual page for each command, made from the same words as `--help`.

use std::path::Path;

use clap::CommandFactory;

use super::{Arguments, answer};
use crate::failure::Failure;

pub(super) fn run(directory: &Path) -> Result<u8, Failure> {
    let shown = directory.display().to_string();
    let failed = |error: std::io::Error| {
        Failure::failed(error.to_string()).at(&shown, None).hint("name a directory that you may write to")
    };
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(Arguments::command(), directory).map_err(failed)?;
    answer(&format!("manual pages are in {shown}: `man -l {}`", directory.join("mrvpn.1").display()));
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page() {
        let directory = std::env::temp_dir().join(format!("mrvpn-man-{}", std::process::id()));
        assert_eq!(run(&directory), Ok(0));
        for name in ["mrvpn", "mrvpn-up", "mrvpn-explain", "mrvpn-check"] {
            let page = std::fs::read_to_string(directory.join(format!("{name}.1"))).unwrap();
            assert!(page.contains(".SH NAME") && page.contains(".SH DESCRIPTION"), "{name}");
        }
        std::fs::remove_dir_all(directory).unwrap();
    }
}
