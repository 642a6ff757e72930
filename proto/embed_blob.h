// KEELSON_EMBED(symbol, path): the file at path as read-only data between symbol_begin and symbol_end.
//
// For schema_blob.cc and its twin in tests/schema only. The build lists the file as a dependency of the object, because
// no compiler tells of an .incbin.
#pragma once

#define KEELSON_EMBED(symbol, path)             \
  __asm__(".pushsection .rodata." #symbol       \
          ",\"a\"\n"                            \
          ".balign 16\n"                        \
          ".global " #symbol "_begin\n" #symbol \
          "_begin:\n"                           \
          ".incbin \"" path                     \
          "\"\n"                                \
          ".global " #symbol "_end\n" #symbol   \
          "_end:\n"                             \
          ".popsection\n");                     \
  extern "C" {                                  \
  extern const char symbol##_begin[];           \
  extern const char symbol##_end[];             \
  }
