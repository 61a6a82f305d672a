// Contracts and assert levels.
//
// Three levels, by whose fault a failure is and by what the test costs:
//
//   PLV_EXPECT(cond, msg)  always on; the caller broke a precondition: std::invalid_argument(msg),
//                          which the bindings hand to Python as a ValueError. `msg` may be an
//                          expression that builds a std::string; it is evaluated on failure only.
//   PLV_CHECK(cond)        always on; we broke an invariant: plv::InternalError with file and line.
//                          Never caught inside the engine: a wrong answer is worse than none.
//   PLV_ASSERT(cond)       as PLV_CHECK, in builds with asserts only (NDEBUG not defined, or
//                          PLV_ASSERTS defined), for tests too dear for a release build. The
//                          condition is type-checked, never evaluated, where asserts are off.
//
// `asserts_on` says which build this is, so that a test can insist on the one it means to run.
#pragma once

#include <stdexcept>
#include <string>

namespace plv {

// A broken invariant of the engine itself, never the consequence of an input.
class InternalError : public std::logic_error {
public:
    using std::logic_error::logic_error;
};

#if defined(PLV_ASSERTS) || !defined(NDEBUG)
inline constexpr bool asserts_on = true;
#else
inline constexpr bool asserts_on = false;
#endif

namespace detail {

#if defined(__GNUC__)
#define PLV_COLD [[gnu::noinline, gnu::cold]]
#else
#define PLV_COLD
#endif

// Out of line, so that a contract costs its caller one compare and one jump.
[[noreturn]] PLV_COLD inline void fail_expect(const std::string& message) {
    throw std::invalid_argument(message);
}

[[noreturn]] PLV_COLD inline void fail_check(const char* condition, const char* file, int line) {
    throw InternalError(std::string("internal error: ") + file + ":" + std::to_string(line) +
                        ": check failed: " + condition);
}

}  // namespace detail
}  // namespace plv

#define PLV_EXPECT(cond, msg)                \
    do {                                     \
        if (!(cond)) [[unlikely]]            \
            ::plv::detail::fail_expect(msg); \
    } while (false)

#define PLV_CHECK(cond)                                           \
    do {                                                          \
        if (!(cond)) [[unlikely]]                                 \
            ::plv::detail::fail_check(#cond, __FILE__, __LINE__); \
    } while (false)

#if defined(PLV_ASSERTS) || !defined(NDEBUG)
#define PLV_ASSERT(cond) PLV_CHECK(cond)
#else
#define PLV_ASSERT(cond) ((void)sizeof(!(cond)))
#endif
