// Channels replaced by shifted copies of others: what one call does to every image, in both memory formats.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "vec.h"

namespace dyc::rewire {

// One image: the distances of its elements depend on the memory format.
struct Shape {
  int64_t channels, height, width;
  bool last;  // channels_last

  int64_t pixels() const { return height * width; }
  int64_t numel() const { return channels * pixels(); }
  int64_t step() const { return last ? channels : 1; }  // from a pixel to the next in its row
  int64_t at(int64_t channel, int64_t row) const {
    return last ? row * width * channels + channel : (channel * height + row) * width;
  }
};

// A shift in one direction: whole pixels, and the weights of the two pixels that it lies between.
struct Step {
  int64_t whole;
  float near, far;

  // From `size` pixels on, every position is the border's; a shift that is no number gives weights that are none.
  Step(float shift, int64_t size) {
    const float down = std::floor(shift), most = float(size);
    whole = down >= most ? size : down > -most ? int64_t(down) : -size;
    far = shift - down;
    near = 1.0f - far;
  }
};

struct Slot {
  int64_t channel, plane;  // what is replaced, and which plane of the sources it reads
  Step down, right;
  int64_t place;  // in the caller's order
};

// As many channels as a vector has lanes: which of them are replaced, and how many slots come before.
struct Block {
  int64_t channel;
  uint32_t mask;
  int64_t before;
};

// What one call does to every image.
struct Plan {
  std::vector<Slot> slots;       // by channel
  std::vector<Block> blocks;     // cover all channels, the last one overlapping the one before it; none if too few
  std::vector<int64_t> sources;  // the channel of each plane, each channel once
  std::vector<char> replaced;    // by channel
  int64_t reach = 0;             // pixels by which a plane's rows go on beyond the image

  // The indices have been checked.
  Plan(const Shape& s, int64_t count, const int64_t* slots_of, const int64_t* sources_of, const float* shift)
      : replaced(s.channels) {
    std::vector<int64_t> plane(s.channels, -1);
    for (int64_t r = 0; r < count; ++r) {
      int64_t& d = plane[sources_of[r]];
      if (d < 0) {
        d = sources.size();
        sources.push_back(sources_of[r]);
      }
      slots.push_back({slots_of[r], d, Step(shift[2 * r + 1], s.height), Step(shift[2 * r], s.width), r});
      replaced[slots_of[r]] = 1;
      const int64_t whole = slots.back().right.whole;
      reach = std::max(reach, whole < 0 ? -whole : whole + 1);
    }
    std::sort(slots.begin(), slots.end(), [](const Slot& a, const Slot& b) { return a.channel < b.channel; });
    for (int64_t c = 0; s.last && s.channels >= kLanes && c < s.channels; c += kLanes) {
      Block block{std::min(c, s.channels - kLanes), 0, 0};
      for (int64_t i = 0; i < block.channel; ++i) block.before += replaced[i];
      for (int64_t i = 0; i < kLanes; ++i) block.mask |= uint32_t(replaced[block.channel + i]) << i;
      blocks.push_back(block);
    }
  }
};

}  // namespace dyc::rewire
