// The few lines that the standalone test programs share.
#pragma once

#include <cstdio>

namespace {

[[maybe_unused]] long passed = 0;
long failed = 0;

void check(bool ok, const char* what, int line) {
    if (ok) {
        ++passed;
        return;
    }
    ++failed;
    if (failed <= 20) std::printf("FAILED line %d: %s\n", line, what);
}
#define CHECK(...) check((__VA_ARGS__), #__VA_ARGS__, __LINE__)

template <class Exception, class Call>
[[maybe_unused]] bool throws(Call&& call) {
    try {
        call();
    } catch (const Exception&) {
        return true;
    }
    return false;
}

int report() {
    std::printf("%ld passed, %ld failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
}

}  // namespace
