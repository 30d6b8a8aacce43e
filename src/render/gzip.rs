//! Compression of bodies into segments that join to one gzip member.
