//! YAML as PyYAML's safe loader reads it: with the scalars and merge keys of YAML 1.1. The parser is serde_yaml's, which by
//! itself reads YAML 1.2. A key that stands twice is kept twice, for the caller to judge. Of explicit tags only `!!str` is
//! known.
use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

pub use value::{Node, Value};

mod plain;
mod value;

/// The one document of a text; `None` when there is nothing in it.
///
/// # Errors
/// When it is not valid YAML, holds several documents, or is nested or repeats itself (aliases) without measure; the
/// error names the line where the parser knows it.
pub fn parse(text: &str) -> Result<Option<Node>, String> {
    let shape: Shape = serde_yaml::from_str(text).map_err(|e| e.to_string())?;
    if matches!(shape, Shape::Nothing) {
        return Ok(None);
    }
    let reader = Reader { text, shape: &shape };
    let node = reader.deserialize(serde_yaml::Deserializer::from_str(text));
    node.map(Some).map_err(|e| e.to_string())
}

/// The first look: what is a scalar, a list or a mapping. serde_yaml gives the letters of a scalar only when it is asked for
/// a string, and it can be asked for one only where a scalar stands.
enum Shape {
    Nothing,
    Scalar,
    Tagged(String),
    List(Vec<Shape>),
    Map(Vec<(Shape, Shape)>),
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML")
    }

    fn visit_none<E>(self) -> Result<Shape, E> {
        Ok(Shape::Nothing)
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Shape, A::Error> {
        let mut shapes = Vec::new();
        while let Some(shape) = list.next_element()? {
            shapes.push(shape);
        }
        Ok(Shape::List(shapes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut shapes = Vec::new();
        while let Some(entry) = map.next_entry()? {
            shapes.push(entry);
        }
        Ok(Shape::Map(shapes))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Shape, A::Error> {
        let (tag, content) = tagged.variant::<String>()?;
        content.newtype_variant::<IgnoredAny>()?;
        Ok(Shape::Tagged(tag))
    }
}

/// The second look: the letters of each scalar, and where they stand.
#[derive(Clone, Copy)]
struct Reader<'a> {
    text: &'a str,
    shape: &'a Shape,
}

impl<'a> Reader<'a> {
    fn of(self, shape: &'a Shape) -> Self {
        Self { shape, ..self }
    }

    /// From letters that lie in the text itself.
    fn in_place(self, letters: &str) -> Node {
        // serde_yaml hands out the very bytes of the text; letters from elsewhere lie outside of it.
        let offset = (letters.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        let (Some(before), Some(after)) = (
            self.text.get(..offset),
            self.text.get(offset.saturating_add(letters.len())..),
        ) else {
            return Node {
                line: None,
                value: Value::Text(letters.to_owned()),
            };
        };
        // What follows a scalar without quotes is never a quote. Of one with escapes serde_yaml hands out the end, where
        // that is what the whole means (the 1 of "\x31"). No letters at all: nothing, unless a quote stands before too.
        let quote = ['"', '\'']
            .into_iter()
            .find(|&quote| after.starts_with(quote) && (!letters.is_empty() || before.ends_with(quote)));
        let before = quote
            .and_then(|quote| before.rfind(quote))
            .map_or(before, |opening| &before[..opening]);
        let value = match (tag(before), quote) {
            (Some("!!str"), _) => Value::Text(letters.to_owned()),
            (Some(tag), _) => Value::Refused(format!("the tag {tag}")),
            (None, Some(_)) => Value::Text(letters.to_owned()),
            (None, None) => plain::resolve(letters),
        };
        Node {
            line: Some(before.matches('\n').count() + 1),
            value,
        }
    }
}

/// The tag among the properties (tag and anchor) that end a text. In a list or a mapping in brackets they stand after
/// the last bracket or comma.
fn tag(before: &str) -> Option<&str> {
    let own = before.rsplit(['[', '{', ',']).next().unwrap_or(before);
    own.split_whitespace()
        .rev()
        .take_while(|word| word.starts_with(['!', '&']))
        .find(|word| word.starts_with('!'))
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        match self.shape {
            Shape::Scalar => deserializer.deserialize_str(self),
            Shape::List(_) => deserializer.deserialize_seq(self),
            Shape::Map(_) => deserializer.deserialize_map(self),
            Shape::Tagged(tag) => {
                deserializer.deserialize_ignored_any(IgnoredAny)?;
                Ok(Node {
                    line: None,
                    value: Value::Refused(format!("the tag !{tag}")),
                })
            }
            Shape::Nothing => Err(D::Error::custom("nothing where something was")),
        }
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the same document as at the first look")
    }

    fn visit_borrowed_str<E>(self, letters: &'de str) -> Result<Node, E> {
        Ok(self.in_place(letters))
    }

    /// With escapes, over several lines or in a block: no such scalar is anything but a string.
    fn visit_str<E>(self, letters: &str) -> Result<Node, E> {
        Ok(Node {
            line: None,
            value: Value::Text(letters.to_owned()),
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let Shape::List(shapes) = self.shape else {
            return Err(A::Error::custom("a list where none was"));
        };
        let mut nodes = Vec::new();
        for shape in shapes {
            nodes.extend(list.next_element_seed(self.of(shape))?);
        }
        Ok(Node {
            line: None,
            value: Value::List(nodes),
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let Shape::Map(shapes) = self.shape else {
            return Err(A::Error::custom("a mapping where none was"));
        };
        let (mut own, mut merged) = (Vec::new(), Vec::new());
        for (key, value) in shapes {
            let Some(key) = map.next_key_seed(self.of(key))? else {
                break;
            };
            let value = map.next_value_seed(self.of(value))?;
            if key.value == Value::Refused(plain::MERGE.into()) {
                merged.extend(merge(value.value).map_err(A::Error::custom)?);
            } else {
                own.push((key, value));
            }
        }
        for (key, value) in merged {
            if !own.iter().any(|(k, _): &(Node, Node)| k.value == key.value) {
                own.push((key, value));
            }
        }
        Ok(Node {
            line: None,
            value: Value::Map(own),
        })
    }
}

/// What is merged in: the entries of a mapping, or of a list of mappings, in which the earlier one wins.
fn merge(value: Value) -> Result<Vec<(Node, Node)>, String> {
    match value {
        Value::Map(entries) => Ok(entries),
        Value::List(nodes) => {
            let mut all = Vec::new();
            for node in nodes {
                match node.value {
                    Value::Map(entries) => all.extend(entries),
                    other => return Err(format!("<<: expected a list of mappings, found {other} in it")),
                }
            }
            Ok(all)
        }
        other => Err(format!(
            "<<: expected a mapping or a list of mappings, found {other}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str, line: usize) -> Node {
        Node {
            line: Some(line),
            value: Value::Text(text.into()),
        }
    }

    #[test]
    fn a_merge_gives_what_the_mapping_has_not_itself() {
        let document = "base: &b {k: base, other: base}\nmore: &m {k: more, last: more}\nown:\n  k: own\n  <<: [*b, *m]\n";
        let Some(Node {
            value: Value::Map(top),
            ..
        }) = parse(document).unwrap()
        else {
            panic!("no mapping");
        };
        assert_eq!(
            top[2].1.value,
            Value::Map(vec![
                (text("k", 4), text("own", 4)),
                (text("other", 1), text("base", 1)),
                (text("last", 2), text("more", 2)),
            ])
        );
        assert!(parse("a: {<<: word}")
            .unwrap_err()
            .contains("<<: expected a mapping"));
    }

    #[test]
    fn nothing_is_nothing_and_doubles_are_kept() {
        for nothing in ["", "# only this\n", "\n\n"] {
            assert_eq!(parse(nothing), Ok(None));
        }
        assert_eq!(
            parse("a: 'x'\na: \"y\"\n").unwrap().unwrap().value,
            Value::Map(vec![(text("a", 1), text("x", 1)), (text("a", 2), text("y", 2))])
        );
    }

    #[test]
    fn what_explodes_or_is_no_single_document_is_an_error() {
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..9 {
            laughs += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(", "));
        }
        for bad in [
            laughs,
            "[".repeat(10_000),
            "a: 1\n--- \nb: 2\n".into(),
            "a: *nobody".into(),
        ] {
            assert!(parse(&bad).is_err(), "{}", &bad[..10]);
        }
    }

    /// The value of the one key of a document.
    fn value_of(document: &str) -> Value {
        match parse(document).unwrap().unwrap().value {
            Value::Map(mut entries) if entries.len() == 1 => entries.remove(0).1.value,
            other => panic!("{document}: {other:?}"),
        }
    }

    #[test]
    fn of_tags_only_that_of_strings_is_known() {
        let text = |letters: &str| Value::Text(letters.into());
        let refused = |tag: &str| Value::Refused(format!("the tag {tag}"));
        for (document, value) in [
            ("a: !!str 1", text("1")),
            ("a: !!str &x 1", text("1")),
            ("a: &x !!str yes", text("yes")),
            ("a: !!str 'x'", text("x")),
            ("a: &x 1", Value::Number("1".into())),
            ("a: !!int 1", refused("!!int")),
            ("a: !!int '1'", refused("!!int")),
            ("a: !own 1", refused("!own")),
            ("a: !own [1]", refused("!own")),
        ] {
            assert_eq!(value_of(document), value, "{document}");
        }
        let list = value_of("a: [!!str 1,!!int 2]");
        let Value::List(nodes) = list else {
            panic!("{list:?}")
        };
        let values: Vec<Value> = nodes.into_iter().map(|node| node.value).collect();
        assert_eq!(values, [text("1"), refused("!!int")]);
        assert_eq!(tag("a: [!!str ,"), None, "the tag of the one before");
    }

    #[test]
    fn nothing_before_a_quoted_key_is_nothing() {
        let nothing = Node {
            line: Some(2),
            value: Value::Null,
        };
        assert_eq!(
            parse("? a\n'b': 'x'\n").unwrap().unwrap().value,
            Value::Map(vec![(text("a", 1), nothing), (text("b", 2), text("x", 2))])
        );
    }

    #[test]
    fn what_is_quoted_escaped_or_in_a_block_is_a_string() {
        for (document, letters) in [
            ("a: 'yes'", "yes"),
            ("a: \"no\"", "no"),
            ("a: \"\\x31\"", "1"),
            ("a: \"\\\n  yes\"", "yes"),
            ("a: \"\\\"1\"", "\"1"),
            ("a: ''", ""),
            ("a: ''''", "'"),
            ("a: 'it''s'", "it's"),
            ("a: |\n  1\n", "1\n"),
            ("a: >-\n  on\n", "on"),
            ("a: one\n  two\n", "one two"),
        ] {
            assert_eq!(value_of(document), Value::Text(letters.into()), "{document}");
        }
    }

    #[test]
    fn numbers_of_any_size_are_kept_as_they_are_written() {
        for number in [
            "-1",
            "18446744073709551615",
            "-9223372036854775809",
            "340282366920938463463374607431768211455",
            "-170141183460469231731687303715884105728",
            "1e999",
            "0.5",
        ] {
            let document = format!("a: {number}");
            let value = match number {
                // Without a point it is a string in YAML 1.1.
                "1e999" => Value::Text(number.into()),
                _ => Value::Number(number.into()),
            };
            assert_eq!(value_of(&document), value);
        }
    }

    #[test]
    fn lines_are_counted_from_one_and_by_where_a_scalar_begins() {
        let document = "# first\n'a':\n  - b\n  -\n    'c'\n";
        let Some(Node {
            value: Value::Map(top),
            ..
        }) = parse(document).unwrap()
        else {
            panic!("no mapping");
        };
        assert_eq!(top[0].0, text("a", 2));
        assert_eq!(top[0].1.value, Value::List(vec![text("b", 3), text("c", 5)]));
    }

    #[test]
    fn only_mappings_can_be_merged() {
        assert_eq!(
            value_of("a: {<<: [{k: 1}, {k: 2, l: 3}]}"),
            value_of("a: {k: 1, l: 3}")
        );
        let error = parse("a: {<<: [{k: 1}, word]}").unwrap_err();
        assert!(
            error.contains("<<: expected a list of mappings, found the string 'word' in it"),
            "{error}"
        );
    }
}
