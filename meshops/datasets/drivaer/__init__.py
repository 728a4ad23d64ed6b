"""DrivAer cars: DrivAerML (hybrid RANS-LES, surfaces and volumes) and DrivAerNet++ (8,000 designs, RANS)."""
