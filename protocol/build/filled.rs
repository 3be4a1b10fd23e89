//! Writes, for tests and samples, a constructor that fills each field that a version carries (see `src/messages/filled.rs`).

use crate::generate::{SAMPLES, default_value};
use crate::schema::{Field, Struct, Type};
use crate::source::Source;

pub(crate) fn implementation(source: &mut Source, item: &Struct) {
    source.line(SAMPLES);
    source.block(format!("impl Filled for {}", item.name), |source| {
        source.block("fn filled(fill: &mut Fill, version: i16) -> Self", |source| {
            source.line("let mut this = Self::default();");
            for field in &item.fields {
                source.when(field.versions.condition(item.versions), |source| {
                    source.line(format!("this.{} = {};", field.name, value(field)));
                });
            }
            source.line("let _ = (fill, version);");
            source.line("this");
        });
    });
}

fn value(field: &Field) -> String {
    let Some(nullable) = field.nullable else {
        return match &field.ty {
            Type::Bool => format!("!{}", default_value(field)),
            ty => required(ty),
        };
    };
    let some = format!("Some({})", required(&field.ty));
    let condition = nullable.condition(field.versions).unwrap_or_else(|| "true".to_owned());
    format!("if fill.null() && {condition} {{ None }} else {{ {some} }}")
}

fn required(ty: &Type) -> String {
    match ty {
        Type::Bool => "true".to_owned(),
        Type::I8 => "fill.i8()".to_owned(),
        Type::I16 => "fill.i16()".to_owned(),
        Type::I32 => "fill.i32()".to_owned(),
        Type::I64 => "fill.i64()".to_owned(),
        Type::Uuid => "fill.uuid()".to_owned(),
        Type::String => "fill.string()".to_owned(),
        Type::Bytes => "fill.bytes()".to_owned(),
        Type::Array(element) => format!("fill.array(|fill| {})", required(element)),
        Type::Struct(name) => format!("{name}::filled(fill, version)"),
    }
}
