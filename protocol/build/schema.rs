//! The nouns of a message schema: an API, its two messages, their structs and fields, and the versions each belongs to.

/// A range of versions, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) min: i16,
    pub(crate) max: i16,
}

/// One API: a request and its response.
#[derive(Debug)]
pub(crate) struct Api {
    /// Kafka's name, such as `ListOffsets`.
    pub(crate) name: String,
    pub(crate) key: i16,
    pub(crate) versions: Versions,
    /// The first version with compact lengths and tagged fields; `None` if there is none.
    pub(crate) first_flexible: Option<i16>,
    pub(crate) structs: Vec<Struct>,
}

/// A request, a response, or a struct inside one.
#[derive(Debug)]
pub(crate) struct Struct {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// True if only tests and tools use the generated form, because the server has a hand-shaped one.
    pub(crate) twin: bool,
    /// The versions in which the struct appears at all.
    pub(crate) versions: Versions,
    pub(crate) fields: Vec<Field>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
    Nested,
}

#[derive(Debug)]
pub(crate) struct Field {
    /// Snake case, as in Rust.
    pub(crate) name: String,
    pub(crate) ty: Type,
    /// The versions that carry the field.
    pub(crate) versions: Versions,
    /// The versions in which it may be null.
    pub(crate) nullable: Option<Versions>,
    pub(crate) tag: Option<u32>,
    /// If true, a version without this field drops its value; if false, a value other than the default is an error.
    pub(crate) ignorable: bool,
    /// The literal after `default=`; `None` is the type's zero (for a nullable field: empty, not null, as in Kafka).
    pub(crate) default: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type {
    Bool,
    I8,
    I16,
    I32,
    I64,
    Uuid,
    String,
    /// Opaque bytes; `records` in a schema is the same on the wire.
    Bytes,
    Array(Box<Type>),
    Struct(String),
}

impl Versions {
    pub(crate) fn covers(self, other: Versions) -> bool {
        self.min <= other.min && self.max >= other.max
    }

    /// A Rust condition on `version`, given that it lies in `all`; `None` if it always holds.
    pub(crate) fn condition(self, all: Versions) -> Option<String> {
        match (self.min > all.min, self.max < all.max) {
            (false, false) => None,
            (true, false) => Some(format!("version >= {}", self.min)),
            (false, true) => Some(format!("version <= {}", self.max)),
            (true, true) if self.min == self.max => Some(format!("version == {}", self.min)),
            (true, true) => Some(format!("({}..={}).contains(&version)", self.min, self.max)),
        }
    }
}

impl Api {
    /// The module that holds the API's messages: `list_offsets`.
    pub(crate) fn module(&self) -> String {
        snake_case(&self.name)
    }

    pub(crate) fn named(&self, kind: Kind) -> &str {
        self.structs
            .iter()
            .find(|candidate| candidate.kind == kind)
            .map_or("", |found| &found.name)
    }
}

impl Field {
    /// True if the Rust type is an `Option`.
    pub(crate) fn is_option(&self) -> bool {
        self.nullable.is_some()
    }

    /// The fewest bytes that the field takes on the wire, as a Rust expression.
    pub(crate) fn min_size(&self) -> String {
        match &self.ty {
            // Only the byte that says that it is null.
            Type::Struct(_) if self.is_option() => "1".to_owned(),
            ty => ty.min_size(),
        }
    }

    /// The Rust type of the field.
    pub(crate) fn rust_type(&self) -> String {
        if self.is_option() {
            format!("Option<{}>", self.ty.rust())
        } else {
            self.ty.rust()
        }
    }
}

impl Type {
    /// The Rust type, not counting null.
    pub(crate) fn rust(&self) -> String {
        match self {
            Type::Bool => "bool".to_owned(),
            Type::I8 => "i8".to_owned(),
            Type::I16 => "i16".to_owned(),
            Type::I32 => "i32".to_owned(),
            Type::I64 => "i64".to_owned(),
            Type::Uuid => "Uuid".to_owned(),
            Type::String => "String".to_owned(),
            Type::Bytes => "Bytes".to_owned(),
            Type::Array(element) => format!("Vec<{}>", element.rust()),
            Type::Struct(name) => name.clone(),
        }
    }

    /// The fewest bytes that a value takes on the wire, as a Rust expression of `version` and `flexible`.
    pub(crate) fn min_size(&self) -> String {
        match self {
            Type::Bool | Type::I8 => "1".to_owned(),
            Type::I16 => "2".to_owned(),
            Type::I32 => "4".to_owned(),
            Type::I64 => "8".to_owned(),
            Type::Uuid => "16".to_owned(),
            Type::String => "if flexible { 1 } else { 2 }".to_owned(),
            Type::Bytes | Type::Array(_) => "if flexible { 1 } else { 4 }".to_owned(),
            Type::Struct(name) => format!("{name}::min_size(version)"),
        }
    }
}

/// `ListOffsets` to `list_offsets`.
pub(crate) fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for (index, character) in name.chars().enumerate() {
        if character.is_ascii_uppercase() && index > 0 {
            snake.push('_');
        }
        snake.push(character.to_ascii_lowercase());
    }
    snake
}
