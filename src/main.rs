//! The `iceway` binary; everything is in the library.

fn main() -> std::process::ExitCode {
    iceway::cli::run()
}
