//! The system calls that the standard library lacks, behind safe functions. The only home of `unsafe`.
