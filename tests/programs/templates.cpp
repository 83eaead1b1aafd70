// A program that is heavy for the compiler: templates, lambdas, the larger headers of the library.
#include <algorithm>
#include <array>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <tuple>
#include <unordered_map>
#include <variant>
#include <vector>

template <int N> struct Fibonacci {
    static constexpr unsigned long long value = Fibonacci<N - 1>::value + Fibonacci<N - 2>::value;
};
template <> struct Fibonacci<0> { static constexpr unsigned long long value = 0; };
template <> struct Fibonacci<1> { static constexpr unsigned long long value = 1; };

template <typename... Types> struct Visitor : Types... {
    using Types::operator()...;
};
template <typename... Types> Visitor(Types...) -> Visitor<Types...>;

using Value = std::variant<int, double, std::string, std::vector<int>, std::map<std::string, int>>;

template <std::size_t... I> auto table(std::index_sequence<I...>)
{
    return std::array<unsigned long long, sizeof...(I)>{Fibonacci<int(I % 90)>::value...};
}

template <typename T, int Depth> struct Tree {
    std::tuple<T, std::unique_ptr<Tree<T, Depth - 1>>, std::unique_ptr<Tree<T, Depth - 1>>> node;
    explicit Tree(T value)
        : node(value, std::make_unique<Tree<T, Depth - 1>>(value + 1), std::make_unique<Tree<T, Depth - 1>>(value * 2))
    {
    }
    T sum() const { return std::get<0>(node) + std::get<1>(node)->sum() + std::get<2>(node)->sum(); }
};
template <typename T> struct Tree<T, 0> {
    T value;
    explicit Tree(T v) : value(v) {}
    T sum() const { return value; }
};

int main()
{
    auto numbers = table(std::make_index_sequence<400>{});
    std::cout << std::accumulate(numbers.begin(), numbers.end(), 0ULL) << '\n';
    std::vector<Value> values{1, 2.5, std::string("text"), std::vector<int>{1, 2, 3}, std::map<std::string, int>{{"a", 1}}};
    for (const auto &value : values)
        std::cout << std::visit(Visitor{[](int i) { return std::to_string(i); }, [](double d) { return std::to_string(d); },
                                        [](const std::string &s) { return s; },
                                        [](const std::vector<int> &v) { return std::to_string(v.size()); },
                                        [](const std::map<std::string, int> &m) { return m.begin()->first; }},
                                value)
                  << '\n';
    std::cout << Tree<long, 12>(1).sum() << ' ' << Tree<unsigned long, 11>(3).sum() << '\n';
    std::regex pattern("([a-z]+)=([0-9]+)");
    std::string text = "one=1 two=22 three=333";
    for (std::sregex_iterator it(text.begin(), text.end(), pattern), end; it != end; ++it)
        std::cout << (*it)[1] << ':' << (*it)[2] << '\n';
    std::mt19937 random(42);
    std::unordered_map<std::string, std::set<int>> groups;
    for (int i = 0; i < 20000; i++)
        groups[std::to_string(random() % 100)].insert(int(random() % 1000));
    std::vector<std::pair<std::string, std::size_t>> sizes;
    for (auto &[name, members] : groups)
        sizes.emplace_back(name, members.size());
    std::sort(sizes.begin(), sizes.end());
    std::ostringstream out;
    for (auto &[name, size] : sizes)
        out << name << '=' << size << ' ';
    std::cout << out.str() << std::hash<std::string>{}(out.str()) << '\n';
}
