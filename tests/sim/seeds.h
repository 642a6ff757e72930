// Many seeds on all cores: each core has a process of its own that takes every n-th seed, so that a run which ends in
// one of the product's own checks is a finding of its seed and not the end of the test.
//
//   EXPECT_EQ(RunSeeds(1, 6000, [](uint64_t seed, Figures& sum) -> std::string { ... return violation; }, sum), "");
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

namespace tests::sim {

// Added up over the seeds, by name.
using Figures = std::map<std::string, double>;

// KEELSON_SIM_SEEDS and the like: a number from the environment.
uint64_t FromEnvironment(const char* name, uint64_t otherwise);

// Runs `one` for each of the seeds; "" or what the first failing seed said, with how to replay it.
std::string RunSeeds(uint64_t first, uint64_t count, const std::function<std::string(uint64_t seed, Figures& sum)>& one,
                     Figures& sum);

// "6000 seeds of 3 members in 41 s: 74729 simulated seconds, 19108 crashes, ..."
std::string Summary(const std::string& title, const Figures& sum);

}  // namespace tests::sim
