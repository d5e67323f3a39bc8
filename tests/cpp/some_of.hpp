// How many of a test's random cases are run.
#pragma once

namespace quantloom::test {

// Under a sanitizer a case takes some ten times as long, and a few of a kind go through its code as well as hundreds:
// one in eight is run there, always the first ones (CMakeLists.txt defines it by QUANTLOOM_SANITIZE).
#ifdef QUANTLOOM_SANITIZED
inline constexpr bool kIsSanitized = true;
#else
inline constexpr bool kIsSanitized = false;
#endif

constexpr int some_of(int cases) { return kIsSanitized ? (cases + 7) / 8 : cases; }

}  // namespace quantloom::test
