//! Byte strings: keys, values and items.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::{self, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// Bytes, spelled as a text where they are UTF-8 and as `{"base64": "AP8="}` where they are not. Either spelling is
/// taken for any bytes; there is one that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteString(pub Vec<u8>);

impl ByteString {
    /// The text they are; `None` where they are none.
    pub fn as_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The text they are, or with replacement characters what comes nearest to one.
    pub fn to_text_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// The bytes behind their base64, with its padding.
    ///
    /// # Errors
    /// A sentence on what is wrong with it.
    pub fn from_base64(text: &str) -> Result<Self, String> {
        BASE64_STANDARD.decode(text).map(Self).map_err(|error| format!("this is no base64: {error}"))
    }

    /// Their base64, with its padding.
    pub fn to_base64(&self) -> String {
        BASE64_STANDARD.encode(&self.0)
    }
}

impl From<&str> for ByteString {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for ByteString {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

/// The text, with replacement characters for what is none.
impl fmt::Display for ByteString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text_lossy())
    }
}

/// The other spelling.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Base64<T> {
    base64: T,
}

impl Serialize for ByteString {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.as_text() {
            Some(text) => serializer.serialize_str(text),
            None => Base64 { base64: self.to_base64() }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ByteString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Spelled)
    }
}

/// Reads both spellings.
struct Spelled;

impl<'de> Visitor<'de> for Spelled {
    type Value = ByteString;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or {\"base64\": \"...\"}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteString, E> {
        Ok(text.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ByteString, A::Error> {
        let Base64 { base64 } = Base64::<String>::deserialize(MapAccessDeserializer::new(map))?;
        ByteString::from_base64(&base64).map_err(de::Error::custom)
    }
}

#[cfg(feature = "schema")]
mod schema {
    use super::ByteString;
    use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, SchemaType, Type};
    use utoipa::openapi::{RefOr, Schema};

    impl utoipa::PartialSchema for ByteString {
        fn schema() -> RefOr<Schema> {
            let text = || ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
            let base64 = ObjectBuilder::new().property("base64", text()).required("base64");
            let spelled = OneOfBuilder::new().item(text()).item(base64);
            spelled.description(Some("Bytes: a text where they are UTF-8, else their base64 by that name.")).into()
        }
    }

    impl utoipa::ToSchema for ByteString {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MapOp, MapValue};

    #[test]
    fn texts_are_texts_and_the_rest_is_base64() {
        for (bytes, json) in [
            (&b"fox"[..], r#""fox""#),
            (b"", r#""""#),
            ("\u{0}\u{17c}".as_bytes(), "\"\\u0000\u{17c}\""),
            (&[0, 255], r#"{"base64":"AP8="}"#),
        ] {
            let string = ByteString(bytes.to_vec());
            assert_eq!(serde_json::to_string(&string).unwrap(), json);
            assert_eq!(serde_json::from_str::<ByteString>(json).unwrap(), string);
        }
        assert_eq!(serde_json::from_str::<ByteString>(r#"{"base64": "Zm94"}"#).unwrap(), "fox".into());
    }

    #[test]
    fn what_is_neither_is_told_what_would_be() {
        for (json, says) in [
            ("1.5", "floating point `1.5`, expected a whole number of 64 bits, a text or {\"base64\": \"...\"}"),
            ("null", "expected a whole number"),
            ("18446744073709551616", "expected a whole number of 64 bits"),
            (r#"{"base64": "AP8"}"#, "this is no base64"),
            (r#"{"base64": 1}"#, "expected a string"),
            (r#"{"base65": "AP8="}"#, "unknown field `base65`"),
            (r#"{"base64": "", "x": 1}"#, "unknown field `x`"),
            ("{}", "missing field `base64`"),
        ] {
            let error = serde_json::from_str::<MapValue>(json).unwrap_err().to_string();
            assert!(error.contains(says), "{json}: {error}");
            let within = format!(r#"{{"op": "put", "key": "k", "value": {json}}}"#);
            let error = serde_json::from_str::<MapOp>(&within).unwrap_err().to_string();
            assert!(error.contains(says), "{within}: {error}");
        }
    }
}
