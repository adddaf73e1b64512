// SPDX-License-Identifier: Apache-2.0
/* C++: exceptions through threads and futures, streams, containers, thread-local objects. */
#include <atomic>
#include <future>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static std::atomic<int> destroyed{0};

struct Counted {
    ~Counted() { destroyed++; }
};

static thread_local Counted counted;

static int deep(int n)
{
    Counted here;
    if (n == 0)
        throw std::runtime_error("bottom");
    return deep(n - 1) + 1;
}

static std::string run(int i)
{
    (void)&counted;
    try {
        return std::to_string(deep(i * 10));
    } catch (const std::exception &e) {
        std::ostringstream text;
        text << "thread " << i << ": " << e.what();
        return text.str();
    }
}

int main()
{
    std::vector<std::future<std::string>> results;
    for (int i = 0; i < 8; i++)
        results.push_back(std::async(std::launch::async, run, i));
    std::map<std::string, int> seen;
    for (auto &r : results)
        seen[r.get()]++;
    for (const auto &[text, n] : seen)
        std::cout << text << " x " << n << "\n";
    auto failing = std::async(std::launch::async, [] { return std::vector<int>(3).at(9); });
    try {
        failing.get();
    } catch (const std::out_of_range &) {
        std::cout << "out of range reached the parent\n";
    }
    std::cout << "destroyed " << destroyed << std::endl;
    return 3;
}
