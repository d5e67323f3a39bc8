#include "quantloom/arch.hpp"

#include <functional>
#include <limits>

#include "fixtures.hpp"

namespace quantloom {
namespace {

using test::caught_from;
using test::make_level;
using test::make_macs;

// Two multipliers in each of the six instances of "inner", below one "outer".
struct Draft {
  std::vector<Level> levels{make_level("inner", 3, 2), make_level("outer", 1, 1)};
  Arithmetic macs = make_macs(6, 2);
  std::vector<Constraint> constraints;
  [[nodiscard]] Arch build() const { return {"a", levels, macs, constraints}; }
  [[nodiscard]] std::string error() const {
    const auto caught = caught_from([&] { (void)build(); });
    EXPECT_EQ(caught.kind, ErrorKind::spec);
    EXPECT_EQ(caught.message.substr(0, 18), "architecture 'a': ");
    return caught.message.substr(18);
  }
};

TEST(Arch, FanoutIsTheRatioOfMeshes) {
  const Arch arch = Draft{}.build();
  EXPECT_EQ(arch.fanout_x(0), 2);
  EXPECT_EQ(arch.fanout_y(0), 1);
  EXPECT_EQ(arch.fanout_x(1), 3);
  EXPECT_EQ(arch.fanout_y(1), 2);
  EXPECT_EQ(arch.find_level("outer"), 1);
  EXPECT_EQ(arch.find_level("DRAM"), -1);
}

TEST(Arch, CountsOfLevelsAreChecked) {
  Draft draft;
  draft.levels.clear();
  EXPECT_EQ(draft.error(), "has 0 levels, expected 1 to 12");
  for (int i = 0; i < 13; ++i) draft.levels.push_back(make_level("l" + std::to_string(i), 1, 1));
  EXPECT_EQ(draft.error(), "has 13 levels, expected 1 to 12");
}

TEST(Arch, NamesAreChecked) {
  Draft draft;
  draft.levels[1].name = "";
  EXPECT_EQ(draft.error(), "a level has no name");
  draft.levels[1].name = "inner";
  EXPECT_EQ(draft.error(), "level 'inner' is given twice");
}

TEST(Arch, ClustersAreWithinTheirLevel) {
  Draft draft;
  draft.levels[0].cluster_size = 6;
  EXPECT_EQ(draft.build().level(0).cluster_size, 6);
  draft.levels[0].cluster_size = 7;
  EXPECT_EQ(draft.error(), "level 'inner': cluster_size is 7, expected at most its 6 instances");
}

TEST(Arch, MeshesAreChecked) {
  Draft draft;
  draft.levels[0].instances = 5;
  EXPECT_EQ(draft.error(), "'inner' has 5 instances but a mesh of 3 x 2");
  draft = {};
  draft.levels[0] = make_level("inner", 4, 2);
  EXPECT_EQ(draft.error(), "level 'inner': its mesh of 4 x 2 does not divide the mesh of 'mac', 6 x 2");
  draft = {};
  draft.levels[1] = make_level("outer", 1, 4);
  EXPECT_EQ(draft.error(), "level 'outer': its mesh of 1 x 4 does not divide the mesh of 'inner', 3 x 2");
  draft = {};
  draft.macs.mesh_x = 0;
  EXPECT_EQ(draft.error(), "'mac' has 12 instances but a mesh of 0 x 2");
  draft.macs.mesh_x = Count{1} << 62;  // times 2 is more than a count holds
  draft.macs.instances = kSaturated;
  EXPECT_EQ(draft.error(), "'mac' has 9223372036854775807 instances but a mesh of 4611686018427387904 x 2");
}

TEST(Arch, SizesAreChecked) {
  Draft draft;
  for (const Count bits : {0, -16, 4097}) {
    draft.levels[0].word_bits = bits;
    EXPECT_EQ(draft.error(), "level 'inner': word_bits is " + std::to_string(bits) + ", expected 1 to 4096");
  }
  const auto rejects = [](const std::function<void(Level&)>& spoil, const std::string& what) {
    Draft spoilt;
    spoil(spoilt.levels[0]);
    EXPECT_EQ(spoilt.error(), "level 'inner': " + what + ", expected more than 0");
  };
  rejects([](Level& level) { level.block_words = 0; }, "block_words is 0.000000");
  rejects([](Level& level) { level.cluster_size = -1; }, "cluster_size is -1.000000");
  rejects([](Level& level) { level.capacity_words = 0; }, "capacity_words is 0.000000");
  rejects([](Level& level) { level.read_bandwidth = 0; }, "read_bandwidth is 0.000000");
  rejects([](Level& level) { level.write_bandwidth = -2; }, "write_bandwidth is -2.000000");
  rejects([](Level& level) { level.shared_bandwidth = std::numeric_limits<double>::infinity(); },
          "shared_bandwidth is inf");
  Draft wide;
  wide.levels[0].block_words = Count{1} << 40;
  EXPECT_EQ(wide.build().level(0).block_words, Count{1} << 40);
  ++wide.levels[0].block_words;
  EXPECT_EQ(wide.error(), "level 'inner': block_words is 1099511627777, expected 1 to 1099511627776");
}

TEST(Arch, EnergiesAndAreasAreChecked) {
  const auto rejects = [](const std::function<void(Level&)>& spoil, const std::string& what) {
    Draft spoilt;
    spoil(spoilt.levels[0]);
    EXPECT_EQ(spoilt.error(), "level 'inner': " + what + ", expected 0 or more");
  };
  rejects([](Level& level) { level.energy.read_pj = -1; }, "energy.read_pj is -1.000000");
  rejects([](Level& level) { level.energy.fill_pj = std::numeric_limits<double>::quiet_NaN(); },
          "energy.fill_pj is nan");
  rejects([](Level& level) { level.energy.update_pj = std::numeric_limits<double>::infinity(); },
          "energy.update_pj is inf");
  rejects([](Level& level) { level.address_energy_pj = -0.5; }, "address_energy_pj is -0.500000");
  rejects([](Level& level) { level.hop_energy_pj = -0.5; }, "hop_energy_pj is -0.500000");
  rejects([](Level& level) { level.router_energy_pj = -0.5; }, "router_energy_pj is -0.500000");
  rejects([](Level& level) { level.leak_energy_pj = -0.5; }, "leak_energy_pj is -0.500000");
  rejects([](Level& level) { level.area_um2 = -0.5; }, "area_um2 is -0.500000");
  Draft draft;
  draft.macs.energy_pj = -1;
  EXPECT_EQ(draft.error(), "arithmetic energy_pj is -1.000000, expected 0 or more");
  draft.macs.energy_pj = 0;
  draft.macs.area_um2 = -1;
  EXPECT_EQ(draft.error(), "arithmetic area_um2 is -1.000000, expected 0 or more");
}

// Times the largest counts they would be infinite, and infinity times 0 is no number.
TEST(Arch, QuantitiesStayFinite) {
  const auto error_of = [](const std::function<void(Draft&)>& spoil) {
    Draft spoilt;
    spoil(spoilt);
    return spoilt.error();
  };
  EXPECT_EQ(error_of([](Draft& draft) { draft.levels[0].router_energy_pj = 1e101; }),
            "level 'inner': router_energy_pj is above 1e100, expected at most that");
  EXPECT_EQ(error_of([](Draft& draft) { draft.macs.energy_pj = 1e308; }),
            "arithmetic energy_pj is above 1e100, expected at most that");
  EXPECT_EQ(error_of([](Draft& draft) { draft.levels[0].read_bandwidth = 5e-324; }),
            "level 'inner': read_bandwidth is outside of 1e-100 to 1e100");
  EXPECT_EQ(error_of([](Draft& draft) { draft.levels[0].shared_bandwidth = 1e101; }),
            "level 'inner': shared_bandwidth is outside of 1e-100 to 1e100");
}

TEST(Arch, ConstraintsNameKnownLevels) {
  Draft draft;
  Constraint constraint;
  constraint.level = "middle";
  draft.constraints = {constraint};
  EXPECT_EQ(draft.error(), "constraint on unknown level 'middle'");
  draft.constraints[0].where = "a.yaml:7";
  EXPECT_EQ(draft.error(), "a.yaml:7: constraint on unknown level 'middle'");
}

}  // namespace
}  // namespace quantloom
