#include "search/leaf.hpp"

#include <algorithm>
#include <climits>
#include <cmath>

#include "proof/writer.hpp"

namespace plv {

namespace {

constexpr int kBits = 44;       // of the largest multiplier of a leaf
constexpr int kLeastBits = 24;  // of the smallest one, of units with large values perhaps
constexpr int kMostBits = 120;  // of the largest one for the smallest one's sake

void put_zigzag(std::string& out, int e) {
    put_var(out, e < 0 ? 2 * static_cast<uint64_t>(-(e + 1)) + 1 : 2 * static_cast<uint64_t>(e));
}

void put_body(std::string& out, std::vector<std::pair<int, Int>> goals,
              const std::vector<std::pair<uint64_t, Int>>& listed) {
    std::erase_if(goals, [](const auto& v) { return v.second.sign() <= 0; });
    std::sort(goals.begin(), goals.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    put_var(out, goals.size());
    for (const auto& [goal, v] : goals) {
        put_var(out, static_cast<uint64_t>(goal));
        put_big(out, v);
    }
    put_var(out, listed.size());
    uint64_t last = 0;
    for (const auto& [at, v] : listed) {
        put_var(out, at - last);
        put_big(out, v);
        last = at;
    }
}

void put_envelopes(std::string& out, std::vector<ListedEnvelope> envelopes) {
    std::sort(envelopes.begin(), envelopes.end(),
              [](const auto& a, const auto& b) { return a.unit < b.unit; });
    put_var(out, envelopes.size());
    uint64_t last = 0;
    for (auto& [unit, shares] : envelopes) {
        put_var(out, unit - last);
        last = unit;
        std::sort(shares.begin(), shares.end());
        put_var(out, shares.size());
        uint64_t at = 0;
        for (const auto& [index, share] : shares) {
            put_var(out, index - at);
            at = index;
            put_var(out, static_cast<uint64_t>(share));
        }
    }
}

}  // namespace

void put_bounds(std::string& out, int rule) {
    put_var(out, 4);
    put_var(out, static_cast<uint64_t>(rule));
}

void put_input_split(std::string& out, uint32_t input, const Rational& value) {
    put_var(out, 2);
    put_var(out, input);
    put_big(out, value.num);
    put_big(out, value.den);
}

void put_unit_split(std::string& out, uint64_t unit) {
    put_var(out, 3);
    put_var(out, unit);
}

void put_rule_leaf(std::string& out, int goal, int ball, double multiplier) {
    put_var(out, 0);
    put_var(out, (goal >= 0) + (ball >= 0));
    if (goal < 0) return;
    // Both over a power of two.
    int e = 0;
    Int m = ball >= 0 ? Int::from_double_scaled(multiplier, e) : Int();
    put_var(out, static_cast<uint64_t>(goal));
    put_big(out, e < 0 ? Int(1) << static_cast<size_t>(-e) : Int(1));
    if (ball < 0) return;
    put_var(out, static_cast<uint64_t>(ball));
    put_big(out, e > 0 ? m << static_cast<size_t>(e) : m);
}

void put_leaf(std::string& out, const std::vector<std::pair<int, double>>& goals,
              std::vector<Listed> listed, std::vector<ListedEnvelope> envelopes) {
    std::stable_sort(listed.begin(), listed.end(),
                     [](const Listed& a, const Listed& b) { return a.number < b.number; });
    size_t count = 0;
    for (const Listed& v : listed) {
        if (count > 0 && listed[count - 1].number == v.number) {
            listed[count - 1].value += v.value;
            listed[count - 1].open |= v.open;
        } else {
            listed[count++] = v;
        }
    }
    listed.resize(count);
    int most = INT_MIN, least = INT_MAX;
    const auto see = [&](double v) {
        if (v == 0.0) return;
        const int at = std::ilogb(v) + 1;
        most = std::max(most, at);
        least = std::min(least, at);
    };
    for (const auto& [goal, v] : goals) see(v);
    for (const Listed& v : listed) see(v.value);
    if (most == INT_MIN) most = least = 0;
    const int e = std::max(std::min(most - kBits, least - kLeastBits), most - kMostBits);
    const auto whole = [&](double v) {
        int own = 0;
        Int m = Int::from_double_scaled(v, own);
        if (own >= e) return m << static_cast<size_t>(own - e);
        return Int(std::llrint(std::ldexp(v, -e)));  // below 2^53: it has bits to lose
    };
    std::vector<std::pair<int, Int>> multipliers;
    for (const auto& [goal, v] : goals) multipliers.emplace_back(goal, whole(v));
    std::vector<std::pair<uint64_t, Int>> values;
    for (const Listed& one : listed) {
        Int v = whole(one.value);
        // Not listed, an open unit might be taken for a known one.
        if (one.open && v.is_zero()) v = 1;
        if (!v.is_zero()) values.emplace_back(one.number, std::move(v));
    }
    put_var(out, envelopes.empty() ? 1 : 7);
    put_zigzag(out, e);
    put_body(out, std::move(multipliers), values);
    if (!envelopes.empty()) put_envelopes(out, std::move(envelopes));
}

void put_exact_leaf(std::string& out, std::vector<std::pair<int, Int>> goals,
                    std::vector<std::pair<uint64_t, Int>> listed) {
    std::sort(listed.begin(), listed.end(),
              [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<std::pair<uint64_t, Int>> sums;
    for (auto& [at, v] : listed) {
        if (!sums.empty() && sums.back().first == at)
            sums.back().second += v;
        else
            sums.emplace_back(at, std::move(v));
    }
    std::erase_if(sums, [](const auto& v) { return v.second.is_zero(); });
    put_var(out, 1);
    put_zigzag(out, 0);
    put_body(out, std::move(goals), sums);
}

}  // namespace plv
