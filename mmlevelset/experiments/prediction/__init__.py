"""Objects on photographs: pictures, COCO results and polygons, without annotations."""
