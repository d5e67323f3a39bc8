// What a mutated source includes: every mutant is in the one binary, and QUANTLOOM_MUTANT=N in the environment turns
// on the one of number N. QUANTLOOM_MUTANT_HITS=FILE writes the numbers of the mutants that were reached to FILE.
#pragma once

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>

namespace quantloom_mutation {

struct State {
  int active = -1;
  const char* hits_file = nullptr;
  std::array<volatile char, 1 << 16> hits{};
  State() {
    if (const char* text = std::getenv("QUANTLOOM_MUTANT")) { active = std::atoi(text); }
    hits_file = std::getenv("QUANTLOOM_MUTANT_HITS");
  }
  ~State() {
    if (hits_file == nullptr) { return; }
    if (std::FILE* file = std::fopen(hits_file, "a")) {
      for (std::size_t i = 0; i < hits.size(); ++i) {
        if (hits[i]) { std::fprintf(file, "%zu\n", i); }
      }
      std::fclose(file);
    }
  }
};
inline State state;

inline bool on(int id) noexcept {
  if (state.hits_file != nullptr) { state.hits[static_cast<std::size_t>(id)] = 1; }
  return state.active == id;
}

// A binary operator `a + b` becomes `a + Switch<id>{} + b`, which binds as before: `a + Switch` remembers a, and what
// it gives `+ b` applies either operator. A pair of types without the other operator has no mutant.
template <int id> struct Switch {};
template <int id, class T> struct Left { const T& value; };

#define QUANTLOOM_MUTATE(OPERATOR, OTHER)                                             \
  template <class T, int id> Left<id, T> operator OPERATOR(const T& value, Switch<id>) noexcept { return {value}; } \
  template <int id, class T, class U> auto operator OPERATOR(Left<id, T> left, const U& right) { \
    if constexpr (requires { decltype(left.value OPERATOR right)(left.value OTHER right); }) { \
      using Result = decltype(left.value OPERATOR right);                             \
      return on(id) ? Result(left.value OTHER right) : Result(left.value OPERATOR right); \
    } else {                                                                          \
      return left.value OPERATOR right;                                               \
    }                                                                                 \
  }
QUANTLOOM_MUTATE(<, <=)
QUANTLOOM_MUTATE(<=, <)
QUANTLOOM_MUTATE(>, >=)
QUANTLOOM_MUTATE(>=, >)
QUANTLOOM_MUTATE(==, !=)
QUANTLOOM_MUTATE(!=, ==)
QUANTLOOM_MUTATE(+, -)
QUANTLOOM_MUTATE(-, +)
QUANTLOOM_MUTATE(*, +)
QUANTLOOM_MUTATE(/, *)
QUANTLOOM_MUTATE(%, /)
QUANTLOOM_MUTATE(&, |)
#undef QUANTLOOM_MUTATE

// `a += b` becomes `a += Negated<id>{} = b`, and `a *= b` becomes `a *= Dropped<id>{} = b`.
template <int id> struct Negated {
  template <class T> T operator=(const T& value) const {
    return on(id) ? T(-value) : value;
  }
};
template <int id> struct Dropped {
  template <class T> T operator=(const T& value) const {
    return on(id) ? T(1) : value;
  }
};

template <int id> struct Least {  // std::min, or std::max
  template <class T> T operator()(const T& a, const T& b) const { return on(id) ? std::max(a, b) : std::min(a, b); }
  template <class T> T operator()(std::initializer_list<T> all) const { return on(id) ? std::max(all) : std::min(all); }
};
template <int id> struct Greatest {
  template <class T> T operator()(const T& a, const T& b) const { return on(id) ? std::min(a, b) : std::max(a, b); }
  template <class T> T operator()(std::initializer_list<T> all) const { return on(id) ? std::min(all) : std::max(all); }
};

}  // namespace quantloom_mutation
