//! Schema text to nouns.
//!
//! ```text
//! api ListOffsets                 Kafka's name
//! key 2
//! versions 1-10                   what we code, from Kafka 4.3
//! flexible 6+                     compact lengths and tagged fields from here on; left out if never
//!
//! request                         or `request twin`: generated for tests and tools only
//!   replica_id i32                name, type
//!   isolation_level i8 2+         versions, if not all of the enclosing struct's
//!   topics []ListOffsetsTopic     the struct's fields stand below, deeper
//!     name string nullable=4+     null is allowed (in these versions)
//!     epoch i32 4+ ignorable default=-1
//!     leader Leader 5+ tag=0      a tagged field
//! response
//!   ...
//! ```
//! `#` starts a comment.

use crate::schema::{Api, Field, Kind, Struct, Type, Versions};

type Parsed<T> = Result<T, String>;

/// A line that is neither empty nor a comment.
struct Line<'a> {
    number: usize,
    indent: usize,
    text: &'a str,
}

/// Reads one schema file.
pub(crate) fn api(text: &str) -> Parsed<Api> {
    let lines = lines(text);
    let mut head = Head::default();
    let mut structs = Vec::new();
    let mut rest = lines.as_slice();
    while let Some((line, after)) = rest.split_first() {
        let body_len = after.iter().take_while(|next| next.indent > 0).count();
        let (body, after) = after.split_at(body_len);
        let mut words = line.text.split_whitespace();
        let section = words.next().unwrap_or_default();
        let argument = words.next();
        let kind = match section {
            "request" => Kind::Request,
            "response" => Kind::Response,
            _ => {
                head.set(section, argument.ok_or_else(|| at(line, "a value is missing"))?)
                    .map_err(|error| at(line, &error))?;
                rest = after;
                continue;
            }
        };
        let name = format!(
            "{}{}",
            head.name,
            if kind == Kind::Request { "Request" } else { "Response" }
        );
        let mut sink = Structs {
            twin: argument == Some("twin"),
            found: &mut structs,
        };
        let fields = sink.fields(body, head.versions)?;
        let twin = sink.twin;
        structs.push(Struct {
            name,
            kind,
            twin,
            versions: head.versions,
            fields,
        });
        rest = after;
    }
    check(&structs)?;
    Ok(Api {
        name: head.name,
        key: head.key,
        versions: head.versions,
        first_flexible: head.first_flexible,
        structs,
    })
}

fn lines(text: &str) -> Vec<Line<'_>> {
    text.lines()
        .enumerate()
        .map(|(index, line)| {
            let line = line.split('#').next().unwrap_or_default().trim_end();
            Line {
                number: index + 1,
                indent: line.len() - line.trim_start().len(),
                text: line.trim_start(),
            }
        })
        .filter(|line| !line.text.is_empty())
        .collect()
}

fn at(line: &Line<'_>, error: &str) -> String {
    format!("line {}: {error}: `{}`", line.number, line.text)
}

struct Head {
    name: String,
    key: i16,
    versions: Versions,
    first_flexible: Option<i16>,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            name: String::new(),
            key: -1,
            versions: Versions { min: 0, max: -1 },
            first_flexible: None,
        }
    }
}

impl Head {
    fn set(&mut self, word: &str, value: &str) -> Parsed<()> {
        let open = Versions { min: 0, max: i16::MAX };
        match word {
            "api" => value.clone_into(&mut self.name),
            "key" => self.key = value.parse().map_err(|_| "not a key".to_owned())?,
            "versions" => self.versions = versions(value, open)?,
            "flexible" => self.first_flexible = Some(versions(value, open)?.min),
            _ => return Err("unknown section".to_owned()),
        }
        Ok(())
    }
}

/// Collects the structs of one message, innermost first.
struct Structs<'a> {
    twin: bool,
    found: &'a mut Vec<Struct>,
}

impl Structs<'_> {
    fn fields(&mut self, lines: &[Line<'_>], enclosing: Versions) -> Parsed<Vec<Field>> {
        let mut fields = Vec::new();
        let mut rest = lines;
        while let Some((line, after)) = rest.split_first() {
            let body_len = after.iter().take_while(|next| next.indent > line.indent).count();
            let (body, after) = after.split_at(body_len);
            let field = field(line.text, enclosing).map_err(|error| at(line, &error))?;
            if !body.is_empty() {
                let name = struct_name(&field.ty)
                    .ok_or_else(|| at(line, "only a struct has fields"))?
                    .to_owned();
                let fields = self.fields(body, field.versions)?;
                self.found.push(Struct {
                    name,
                    kind: Kind::Nested,
                    twin: self.twin,
                    versions: field.versions,
                    fields,
                });
            }
            fields.push(field);
            rest = after;
        }
        Ok(fields)
    }
}

fn field(text: &str, enclosing: Versions) -> Parsed<Field> {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap_or_default().to_owned();
    let ty = ty(words.next().ok_or("a type is missing")?)?;
    let mut field = Field {
        name,
        ty,
        versions: enclosing,
        nullable: None,
        tag: None,
        ignorable: false,
        default: None,
    };
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match (key, value) {
            ("ignorable", "") => field.ignorable = true,
            ("nullable", "") => field.nullable = Some(field.versions),
            ("nullable", range) => field.nullable = Some(versions(range, field.versions)?),
            ("tag", tag) => field.tag = Some(tag.parse().map_err(|_| "not a tag")?),
            ("default", literal) => field.default = Some(literal.to_owned()),
            (range, "") => field.versions = versions(range, enclosing)?,
            _ => return Err(format!("unknown word {word}")),
        }
    }
    Ok(field)
}

fn ty(text: &str) -> Parsed<Type> {
    if let Some(element) = text.strip_prefix("[]") {
        return Ok(Type::Array(Box::new(ty(element)?)));
    }
    Ok(match text {
        "bool" => Type::Bool,
        "i8" => Type::I8,
        "i16" => Type::I16,
        "i32" => Type::I32,
        "i64" => Type::I64,
        "uuid" => Type::Uuid,
        "string" => Type::String,
        "bytes" | "records" => Type::Bytes,
        name if name.starts_with(|first: char| first.is_ascii_uppercase()) => Type::Struct(name.to_owned()),
        _ => return Err(format!("unknown type {text}")),
    })
}

/// `3`, `3-5` or `3+`, cut to what encloses it.
fn versions(text: &str, enclosing: Versions) -> Parsed<Versions> {
    let number = |digits: &str| digits.parse::<i16>().map_err(|_| format!("unknown word {text}"));
    let range = if let Some(min) = text.strip_suffix('+') {
        Versions {
            min: number(min)?,
            max: enclosing.max,
        }
    } else if let Some((min, max)) = text.split_once('-') {
        Versions {
            min: number(min)?,
            max: number(max)?,
        }
    } else {
        Versions {
            min: number(text)?,
            max: number(text)?,
        }
    };
    if !enclosing.covers(range) || range.min > range.max {
        return Err(format!(
            "versions {text} lie outside {}-{}",
            enclosing.min, enclosing.max
        ));
    }
    Ok(range)
}

fn struct_name(ty: &Type) -> Option<&str> {
    match ty {
        Type::Struct(name) => Some(name),
        Type::Array(element) => struct_name(element),
        _ => None,
    }
}

/// Every struct that is named is described, once.
fn check(structs: &[Struct]) -> Parsed<()> {
    let described = |name: &str| structs.iter().filter(|found| found.name == name).count();
    for field in structs.iter().flat_map(|found| &found.fields) {
        if let Some(name) = struct_name(&field.ty)
            && described(name) != 1
        {
            return Err(format!("struct {name} is described {} times", described(name)));
        }
    }
    Ok(())
}
