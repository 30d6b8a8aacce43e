//! Accept and Accept-Encoding in, format and encoding out.
