//! Three small macros, so that each number of the interface is written down once.
//!
//! `codes!` makes an integer newtype with named values, `flags!` one with named bits, `layout!` asserts where the fields
//! of a structure lie. Names, numbers and offsets come out as data too: `Debug` and the table in the book live
//! on that, none of them can disagree with the code.

/// An integer that travels in messages, with the values that have a name. Others are carried along unchanged.
macro_rules! codes {
    (
        $(#[$meta:meta])*
        pub struct $name:ident($int:ty) {
            $( $(#[$code_meta:meta])* $code:ident = $value:expr, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
            ::zerocopy::FromBytes, ::zerocopy::IntoBytes, ::zerocopy::KnownLayout, ::zerocopy::Immutable,
        )]
        #[repr(transparent)]
        pub struct $name(pub $int);

        impl $name {
            /// The name of the value, if it has one.
            pub fn name(self) -> Option<&'static str> {
                crate::layout::name_of(Self::NAMED, self)
            }
        }

        codes! {
            impl $name as NAMED {
                $( $(#[$code_meta])* $code = $value, )*
            }
        }

        named_formats!($name);
    };
    (
        impl $name:ident as $list:ident {
            $( $(#[$code_meta:meta])* $code:ident = $value:expr, )*
        }
    ) => {
        impl $name {
            $( $(#[$code_meta])* pub const $code: Self = Self($value); )*

            /// The values declared here, by name.
            pub const $list: &'static [(&'static str, Self)] = &[
                $( (stringify!($code), Self::$code), )*
            ];
        }
    };
}

/// `Debug` of a newtype with `name()`: the name where there is one, else the number.
macro_rules! named_formats {
    ($name:ident) => {
        impl ::core::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{}({})", stringify!($name), self.0),
                }
            }
        }
    };
}

/// A word of flags that travels in messages. Unknown bits are carried along unchanged.
macro_rules! flags {
    (
        $(#[$meta:meta])*
        pub struct $name:ident($int:ty) {
            $( $(#[$($flag_meta:tt)*])* $flag:ident = $value:expr, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Default, PartialEq, Eq, Hash,
            ::zerocopy::FromBytes, ::zerocopy::IntoBytes, ::zerocopy::KnownLayout, ::zerocopy::Immutable,
        )]
        #[repr(transparent)]
        pub struct $name($int);

        ::bitflags::bitflags! {
            impl $name: $int {
                $( $(#[$($flag_meta)*])* const $flag = $value; )*

                // Every other bit is carried along unchanged.
                const _ = !0;
            }
        }

        impl ::core::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(concat!(stringify!($name), "("))?;
                ::bitflags::parser::to_writer(self, &mut *f)?;
                f.write_str(")")
            }
        }
    };
}

/// Asserts at compile time how large a structure is, and where each field lies and what type it has.
macro_rules! layout {
    ($name:ident, $size:literal { $( $field:ident: $ty:ty = $offset:literal, )* }) => {
        const _: () = {
            assert!(::core::mem::size_of::<$name>() == $size);
            $(
                assert!(::core::mem::offset_of!($name, $field) == $offset);
                let _: fn(&$name) -> &$ty = |whole| &whole.$field;
            )*
        };

        impl crate::layout::Layout for $name {
            const NAME: &'static str = stringify!($name);
            const FIELDS: &'static [crate::layout::Field] = &[
                $( crate::layout::Field {
                    name: stringify!($field),
                    kind: stringify!($ty),
                    offset: ::core::mem::offset_of!($name, $field),
                    bytes: ::core::mem::size_of::<$ty>(),
                }, )*
            ];
        }
    };
}
