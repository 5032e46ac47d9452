//! Encryption keys, initial vectors and MAC keys from what a key exchange yielded (RFC 4253
//! section 7.2).

use aws_lc_rs::digest;

use super::kex::Hash;

/// Derives the keys of one key exchange.
pub(crate) struct Keys {
    /// Has taken in the shared secret and the exchange hash.
    base: digest::Context,
    session_id: Vec<u8>,
}

impl Keys {
    /// `shared` is the secret as it went into the exchange hash `h`, with its length; `session_id`
    /// is the connection's first exchange hash.
    pub(crate) fn new(hash: &'static Hash, shared: &[u8], h: &[u8], session_id: &[u8]) -> Self {
        let mut base = digest::Context::new(hash);
        base.update(shared);
        base.update(h);
        Self { base, session_id: session_id.to_vec() }
    }

    /// So many bytes of the key with this letter: `A` and `B` are initial vectors, `C` and `D`
    /// encryption keys, `E` and `F` MAC keys; the first of each pair is the client's.
    pub(crate) fn derive(&self, letter: u8, length: usize) -> Vec<u8> {
        let mut first = self.base.clone();
        first.update(&[letter]);
        first.update(&self.session_id);
        let mut key = first.finish().as_ref().to_vec();
        while key.len() < length {
            let mut next = self.base.clone();
            next.update(&key);
            key.extend_from_slice(next.finish().as_ref());
        }
        key.truncate(length);
        key
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512, digest};

    use super::*;
    use crate::ssh::wire::Message;

    /// What `AsyncSSH` 2.24 (`Kex.compute_key`) derives. The longest need a second hash, or a fifth.
    #[test]
    fn keys_are_those_of_another_implementation() {
        let secret: Vec<u8> = (0x80..0xa0).collect();
        let shared = Message::part().mpint(&secret).0;
        for (hash, letter, key) in [
            (&SHA1_FOR_LEGACY_USE_ONLY, b'A', "4d918bbafba4bd643a8859db"),
            (
                &SHA1_FOR_LEGACY_USE_ONLY,
                b'F',
                "73a03f65c56ca06ca25d6b550167b287651ddbc43bee58d34efdef046445d2f3\
                 ef2149b56f05399cc5ea056cf6641ad8bb25b67cd1f3472954e2fbc9cfab252f\
                 946553dfa4fddaba737976d9ff552d24e394de7af337cf8745f4a57b3e73a0c5\
                 a7ff4b25",
            ),
            (&SHA256, b'A', "2186993ee6ce9e94793434f7"),
            (
                &SHA256,
                b'C',
                "83238e43a3a93480f014f0076a889f2cabaff6d7109fc9f187dc4bef79a7930a\
                 9eaf6eaea83d81a64dd5a228a536777f78928bd7790bbccae35ffad5bdc7e210",
            ),
            (
                &SHA512,
                b'F',
                "c59ccb7d27d86da1ce4dc0d6c8609794b777fe56ab309078dfba3fcbe9ce8fa8\
                 2848310214f31e95abbed41920bd221eb97d35fcf44964149408f4720b6cfd02\
                 acce737faa727fb48d771601173f6589995a03d218252482aa462ed95e437a04\
                 e4f443fb",
            ),
        ] {
            let h = digest(hash, b"exchange");
            let keys = Keys::new(hash, &shared, h.as_ref(), digest(hash, b"session").as_ref());
            let digits: Vec<_> =
                keys.derive(letter, key.len() / 2).iter().map(|it| format!("{it:02x}")).collect();
            let written = digits.concat();
            assert_eq!(written, key, "{hash:?} {letter}");
        }
    }
}
