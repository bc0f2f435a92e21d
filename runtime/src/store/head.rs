//! One file of `heads/`.
//!
//! ```text
//! "MLHD"   format u32   bundle id, 64 hexadecimal digits   length u64   payload (postcard)   crc32 u32
//! ```
//!
//! Numbers are little-endian; the checksum is over everything before it.

use metalens_models::BundleId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Flaw;

/// The version of the layout that this program reads and writes.
pub(super) const FORMAT_VERSION: u32 = 1;

const MAGIC: [u8; 4] = *b"MLHD";
const ID: usize = 64;
const HEADER: usize = MAGIC.len() + 4 + ID + 8;
const CHECKSUM: usize = 4;

pub(super) fn encode<T: Serialize + ?Sized>(
    bundle: &BundleId,
    payload: &T,
) -> Result<Vec<u8>, postcard::Error> {
    let payload = postcard::to_stdvec(payload)?;
    let mut data = Vec::with_capacity(HEADER + payload.len() + CHECKSUM);
    data.extend(MAGIC);
    data.extend(FORMAT_VERSION.to_le_bytes());
    data.extend(id(bundle));
    data.extend((payload.len() as u64).to_le_bytes());
    data.extend(&payload);
    data.extend(crc32fast::hash(&data).to_le_bytes());
    Ok(data)
}

/// The version is looked at before the checksum, which may lie elsewhere in another version, and the bundle after it,
/// so that a damaged id is not taken for another bundle's.
pub(super) fn decode<T: DeserializeOwned>(data: &[u8], bundle: &BundleId) -> Result<T, Flaw> {
    let found = data.len() as u64;
    let mut rest = data;
    let short = || Flaw::Length { found, expected: (HEADER + CHECKSUM) as u64 };
    if take(&mut rest).ok_or_else(short)? != MAGIC {
        return Err(Flaw::Kind);
    }
    let format = u32::from_le_bytes(take(&mut rest).ok_or_else(short)?);
    if format != FORMAT_VERSION {
        return Err(Flaw::Format(format));
    }
    let found_id: [u8; ID] = take(&mut rest).ok_or_else(short)?;
    let length = u64::from_le_bytes(take(&mut rest).ok_or_else(short)?);
    let expected = length.saturating_add((HEADER + CHECKSUM) as u64);
    let (payload, checksum) = match rest.split_last_chunk() {
        Some(parts) if found == expected => parts,
        _ => return Err(Flaw::Length { found, expected }),
    };
    let checksum = u32::from_le_bytes(*checksum);
    let expected = crc32fast::hash(&data[..HEADER + payload.len()]);
    if checksum != expected {
        return Err(Flaw::Checksum { found: checksum, expected });
    }
    let expected_id = id(bundle);
    if found_id != expected_id {
        return Err(Flaw::Bundle { found: shown(&found_id), expected: shown(&expected_id) });
    }
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(Flaw::Payload("bytes are left over".to_owned())),
        Err(error) => Err(Flaw::Payload(error.to_string())),
    }
}

fn take<const N: usize>(data: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = data.split_first_chunk()?;
    *data = rest;
    Some(*first)
}

/// The id of a bundle that was opened has 64 digits.
fn id(bundle: &BundleId) -> [u8; ID] {
    let mut field = [0; ID];
    field.iter_mut().zip(bundle.to_string().bytes()).for_each(|(to, from)| *to = from);
    field
}

/// As many digits as tell bundles apart.
fn shown(id: &[u8; ID]) -> String {
    String::from_utf8_lossy(&id[..12]).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::testing::bundle;
    use super::*;

    fn flaw(data: &[u8]) -> String {
        decode::<String>(data, &bundle('a')).unwrap_err().to_string()
    }

    #[test]
    fn the_layout_is_what_the_documentation_says() {
        let data = encode(&bundle('a'), "hi").unwrap();
        let mut expected = b"MLHD\x01\0\0\0".to_vec();
        expected.extend([b'a'; 64]);
        // postcard's string: its length, then its bytes.
        expected.extend(b"\x03\0\0\0\0\0\0\0\x02hi");
        // By Python's zlib.crc32.
        expected.extend(0xef4d_6d05_u32.to_le_bytes());
        assert_eq!(data, expected);
        assert_eq!(decode::<String>(&data, &bundle('a')).unwrap(), "hi");
    }

    #[test]
    fn a_head_with_any_one_byte_changed_is_refused() {
        let data = encode(&bundle('a'), "a jammed gripper").unwrap();
        for at in 0..data.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut data = data.clone();
                data[at] ^= change;
                decode::<String>(&data, &bundle('a')).unwrap_err();
            }
        }
    }

    #[test]
    fn a_head_of_any_other_length_is_refused() {
        let data = encode(&bundle('a'), "a jammed gripper").unwrap();
        for length in 0..data.len() {
            let flaw = flaw(&data[..length]);
            assert!(flaw.starts_with(&format!("{length} bytes, ")), "{flaw}");
        }
        let longer = [data.as_slice(), b"\0"].concat();
        assert_eq!(flaw(&longer), format!("{} bytes, {} expected", longer.len(), data.len()));
    }

    #[test]
    fn what_is_wrong_is_told_with_both_values() {
        let data = encode(&bundle('b'), "a bolt").unwrap();
        assert_eq!(flaw(&data), "calibrated on bundle bbbbbbbbbbbb, this is aaaaaaaaaaaa");
        let mut newer = encode(&bundle('a'), "a bolt").unwrap();
        newer[4] = 2;
        assert_eq!(flaw(&newer), "format version 2, this program reads 1");
        assert_eq!(flaw(&[0; 100]), "not a file of this kind");
        let mut damaged = encode(&bundle('a'), "a bolt").unwrap();
        damaged[HEADER + 3] ^= 1;
        assert!(flaw(&damaged).starts_with("damaged: checksum "));
        let other = encode(&bundle('a'), &(1u8, "a bolt")).unwrap();
        assert!(flaw(&other).starts_with("cannot be decoded: "));
    }
}
